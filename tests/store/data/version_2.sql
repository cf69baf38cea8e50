BEGIN TRANSACTION;
CREATE TABLE attempts (
	run_id VARCHAR(16) NOT NULL, 
	attempt VARCHAR(40) NOT NULL, 
	began VARCHAR(40) NOT NULL, 
	ended VARCHAR(40) NOT NULL, 
	cause VARCHAR(20) NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	device VARCHAR(200), 
	pid INTEGER, 
	git_commit VARCHAR(64), 
	provenance JSON NOT NULL, 
	PRIMARY KEY (run_id, attempt), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "attempts" VALUES('7c25377e965c3ad8','20261121T003127-85eca05e','2026-11-21T00:31:27.243+00:00','2026-11-21T00:31:27.247+00:00','done','vm','cpu',8589,NULL,'{"version":"0.1.0"}');
INSERT INTO "attempts" VALUES('db0142818994c5fc','20261121T003127-ef401b58','2026-11-21T00:31:27.262+00:00','2026-11-21T00:31:27.271+00:00','done','vm','cpu',8589,NULL,'{"version":"0.1.0"}');
INSERT INTO "attempts" VALUES('f99ea4e46caa0613','20261121T003127-d0d24607','2026-11-21T00:31:27.292+00:00','2026-11-21T00:31:27.301+00:00','diverged','vm','cpu',8589,NULL,'{"version":"0.1.0"}');
CREATE TABLE class_scores (
	run_id VARCHAR(16) NOT NULL, 
	split VARCHAR(20) NOT NULL, 
	metric VARCHAR(100) NOT NULL, 
	selection VARCHAR(20) NOT NULL, 
	epoch INTEGER NOT NULL, 
	scores JSON NOT NULL, 
	PRIMARY KEY (run_id, split, metric, selection), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "class_scores" VALUES('7c25377e965c3ad8','test','recall_at_1','last',2,'{"я":0.25,"ж":0.75}');
INSERT INTO "class_scores" VALUES('db0142818994c5fc','test','recall_at_1','last',2,'{"я":0.25,"ж":0.75}');
CREATE TABLE curves (
	run_id VARCHAR(16) NOT NULL, 
	split VARCHAR(20) NOT NULL, 
	metric VARCHAR(100) NOT NULL, 
	epochs JSON NOT NULL, 
	numbers JSON NOT NULL, 
	PRIMARY KEY (run_id, split, metric), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "curves" VALUES('7c25377e965c3ad8','test','recall_at_1','[1,2,3,4]','[0.0123457,0.25,0.333333,1.0]');
INSERT INTO "curves" VALUES('7c25377e965c3ad8','test','nmi','[2,4]','[0.5,0.25]');
INSERT INTO "curves" VALUES('7c25377e965c3ad8','train','loss','[1,2,3,4]','[12.5,null,-0.000123456,3.0]');
INSERT INTO "curves" VALUES('db0142818994c5fc','test','recall_at_1','[1,2,3,4]','[0.0123457,0.25,0.333333,1.0]');
INSERT INTO "curves" VALUES('db0142818994c5fc','test','nmi','[2,4]','[0.5,0.25]');
INSERT INTO "curves" VALUES('db0142818994c5fc','train','loss','[1,2,3,4]','[12.5,null,-0.000123456,3.0]');
CREATE TABLE estimates (
	study VARCHAR(200) NOT NULL, 
	profile VARCHAR(200) NOT NULL, 
	run_id VARCHAR(16) NOT NULL, 
	seconds FLOAT NOT NULL, 
	cost JSON NOT NULL, 
	source VARCHAR(20) NOT NULL, 
	device VARCHAR(200) NOT NULL, 
	planned VARCHAR(40) NOT NULL, 
	PRIMARY KEY (study, profile, run_id)
);
INSERT INTO "estimates" VALUES('fair','','15c25183205f4573',12.5,'{"train_seconds":12.5}','measured','cpu','2026-11-21T00:31:27.651+00:00');
CREATE TABLE measurements (
	run_id VARCHAR(16) NOT NULL, 
	split VARCHAR(20) NOT NULL, 
	metric VARCHAR(100) NOT NULL, 
	selection VARCHAR(20) NOT NULL, 
	epoch INTEGER NOT NULL, 
	value FLOAT NOT NULL, 
	PRIMARY KEY (run_id, split, metric, selection), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "measurements" VALUES('7c25377e965c3ad8','test','recall_at_1','best_test',1,0.35);
INSERT INTO "measurements" VALUES('7c25377e965c3ad8','test','recall_at_1','last',2,0.25);
INSERT INTO "measurements" VALUES('7c25377e965c3ad8','train','density','last',2,0.25);
INSERT INTO "measurements" VALUES('db0142818994c5fc','test','recall_at_1','best_test',1,0.6);
INSERT INTO "measurements" VALUES('db0142818994c5fc','test','recall_at_1','last',2,0.5);
INSERT INTO "measurements" VALUES('db0142818994c5fc','train','density','last',2,0.25);
CREATE TABLE runs (
	run_id VARCHAR(16) NOT NULL, 
	dataset VARCHAR(200) NOT NULL, 
	backbone VARCHAR(200) NOT NULL, 
	objective VARCHAR(200) NOT NULL, 
	miner VARCHAR(200) NOT NULL, 
	sampler VARCHAR(200) NOT NULL, 
	regularizer VARCHAR(200) NOT NULL, 
	seed INTEGER NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	cause VARCHAR(20), 
	message TEXT, 
	traceback TEXT, 
	spec JSON NOT NULL, 
	cost JSON NOT NULL, 
	provenance JSON NOT NULL, 
	result_digest VARCHAR(16), 
	folder_stamp VARCHAR(80), 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('7c25377e965c3ad8','glyphs','convnet','triplet','semihard','class_balanced','none',0,'done',NULL,NULL,NULL,'{"dataset":{"name":"glyphs","options":{"per_class":24},"revision":1},"backbone":{"name":"convnet","options":{"embedding_dim":64},"revision":1},"objective":{"name":"triplet","options":{"margin":0.1},"revision":1},"miner":{"name":"semihard","options":{},"revision":1},"sampler":{"name":"class_balanced","options":{"samples_per_class":2},"revision":1},"regularizer":null,"training":{"epochs":2,"batch_size":112,"augmentation":"base","precision":"float32","gradient_clip":null,"ema":null,"compile":"none","tf32":false},"optimizer":{"name":"adam","lr":1e-05,"weight_decay":0.0004,"momentum":0.9,"eps":1e-08,"backbone_lr_multiplier":1.0,"embedding_lr_multiplier":1.0,"warmup_epochs":0,"schedule":"multistep","milestones":[],"gamma":0.3},"evaluation":{"every":1,"clustering_every":1,"test":[{"name":"retrieval","options":{},"revision":1},{"name":"clustering","options":{},"revision":1},{"name":"density","options":{},"revision":1},{"name":"spectrum","options":{},"revision":1}],"train":[{"name":"density","options":{},"revision":1},{"name":"spectrum","options":{},"revision":1}]},"seed":0,"protocol":2}','{"train_seconds":1.5,"step_ms":12.0}','{"commit":"abc"}','68adc4688ecd0ce4','1026.1795221087247576455.1795221087247475985');
INSERT INTO "runs" VALUES('db0142818994c5fc','glyphs','convnet','triplet','semihard','class_balanced','none',1,'done',NULL,NULL,NULL,'{"dataset":{"name":"glyphs","options":{"per_class":24},"revision":1},"backbone":{"name":"convnet","options":{"embedding_dim":64},"revision":1},"objective":{"name":"triplet","options":{"margin":0.1},"revision":1},"miner":{"name":"semihard","options":{},"revision":1},"sampler":{"name":"class_balanced","options":{"samples_per_class":2},"revision":1},"regularizer":null,"training":{"epochs":2,"batch_size":112,"augmentation":"base","precision":"float32","gradient_clip":null,"ema":null,"compile":"none","tf32":false},"optimizer":{"name":"adam","lr":1e-05,"weight_decay":0.0004,"momentum":0.9,"eps":1e-08,"backbone_lr_multiplier":1.0,"embedding_lr_multiplier":1.0,"warmup_epochs":0,"schedule":"multistep","milestones":[],"gamma":0.3},"evaluation":{"every":1,"clustering_every":1,"test":[{"name":"retrieval","options":{},"revision":1},{"name":"clustering","options":{},"revision":1},{"name":"density","options":{},"revision":1},{"name":"spectrum","options":{},"revision":1}],"train":[{"name":"density","options":{},"revision":1},{"name":"spectrum","options":{},"revision":1}]},"seed":1,"protocol":2}','{"train_seconds":1.5,"step_ms":12.0}','{"commit":"abc"}','5593cd99042e792b','1024.1795221087271535878.1795221087271397772');
INSERT INTO "runs" VALUES('f99ea4e46caa0613','glyphs','convnet','triplet','semihard','class_balanced','none',0,'failed','diverged','the loss became nan','Traceback ...','{"dataset":{"name":"glyphs","options":{"per_class":24},"revision":1},"backbone":{"name":"convnet","options":{"embedding_dim":64},"revision":1},"objective":{"name":"triplet","options":{"margin":0.2},"revision":1},"miner":{"name":"semihard","options":{},"revision":1},"sampler":{"name":"class_balanced","options":{"samples_per_class":2},"revision":1},"regularizer":null,"training":{"epochs":2,"batch_size":112,"augmentation":"base","precision":"float32","gradient_clip":null,"ema":null,"compile":"none","tf32":false},"optimizer":{"name":"adam","lr":1e-05,"weight_decay":0.0004,"momentum":0.9,"eps":1e-08,"backbone_lr_multiplier":1.0,"embedding_lr_multiplier":1.0,"warmup_epochs":0,"schedule":"multistep","milestones":[],"gamma":0.3},"evaluation":{"every":1,"clustering_every":1,"test":[{"name":"retrieval","options":{},"revision":1},{"name":"clustering","options":{},"revision":1},{"name":"density","options":{},"revision":1},{"name":"spectrum","options":{},"revision":1}],"train":[{"name":"density","options":{},"revision":1},{"name":"spectrum","options":{},"revision":1}]},"seed":0,"protocol":2}','{}','{}','19014c75a44bc904','246.1795221087301831768.1795221087301724998');
INSERT INTO "runs" VALUES('15c25183205f4573','glyphs','convnet','triplet','semihard','class_balanced','none',1,'pending',NULL,NULL,NULL,'{"dataset":{"name":"glyphs","options":{"per_class":24},"revision":1},"backbone":{"name":"convnet","options":{"embedding_dim":64},"revision":1},"objective":{"name":"triplet","options":{"margin":0.2},"revision":1},"miner":{"name":"semihard","options":{},"revision":1},"sampler":{"name":"class_balanced","options":{"samples_per_class":2},"revision":1},"regularizer":null,"training":{"epochs":2,"batch_size":112,"augmentation":"base","precision":"float32","gradient_clip":null,"ema":null,"compile":"none","tf32":false},"optimizer":{"name":"adam","lr":1e-05,"weight_decay":0.0004,"momentum":0.9,"eps":1e-08,"backbone_lr_multiplier":1.0,"embedding_lr_multiplier":1.0,"warmup_epochs":0,"schedule":"multistep","milestones":[],"gamma":0.3},"evaluation":{"every":1,"clustering_every":1,"test":[{"name":"retrieval","options":{},"revision":1},{"name":"clustering","options":{},"revision":1},{"name":"density","options":{},"revision":1},{"name":"spectrum","options":{},"revision":1}],"train":[{"name":"density","options":{},"revision":1},{"name":"spectrum","options":{},"revision":1}]},"seed":1,"protocol":2}','{}','{}',NULL,NULL);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(2);
CREATE TABLE spectra (
	run_id VARCHAR(16) NOT NULL, 
	split VARCHAR(20) NOT NULL, 
	selection VARCHAR(20) NOT NULL, 
	epoch INTEGER NOT NULL, 
	singular_values JSON NOT NULL, 
	PRIMARY KEY (run_id, split, selection), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "spectra" VALUES('7c25377e965c3ad8','test','last',2,'[0.7,0.2,0.1]');
INSERT INTO "spectra" VALUES('db0142818994c5fc','test','last',2,'[0.7,0.2,0.1]');
CREATE TABLE studies (
	study VARCHAR(200) NOT NULL, 
	profile VARCHAR(200) NOT NULL, 
	question TEXT, 
	about JSON NOT NULL, 
	recorded VARCHAR(40) NOT NULL, 
	PRIMARY KEY (study, profile)
);
INSERT INTO "studies" VALUES('fair','','Which margin?','{"question":"Which margin?"}','2026-11-21T00:31:27.307+00:00');
INSERT INTO "studies" VALUES('other','paper',NULL,'{"question":null}','2026-11-21T00:31:27.535+00:00');
CREATE TABLE study_runs (
	study VARCHAR(200) NOT NULL, 
	profile VARCHAR(200) NOT NULL, 
	run_id VARCHAR(16) NOT NULL, 
	position INTEGER NOT NULL, 
	method TEXT NOT NULL, 
	PRIMARY KEY (study, profile, run_id), 
	FOREIGN KEY(study, profile) REFERENCES studies (study, profile) ON DELETE CASCADE, 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "study_runs" VALUES('fair','','7c25377e965c3ad8',0,'triplet (margin=0.1)');
INSERT INTO "study_runs" VALUES('fair','','db0142818994c5fc',1,'triplet (margin=0.1)');
INSERT INTO "study_runs" VALUES('fair','','f99ea4e46caa0613',2,'triplet (margin=0.2)');
INSERT INTO "study_runs" VALUES('fair','','15c25183205f4573',3,'triplet (margin=0.2)');
INSERT INTO "study_runs" VALUES('other','paper','7c25377e965c3ad8',0,'triplet');
CREATE INDEX runs_by_state ON runs (state);
CREATE INDEX study_runs_by_run ON study_runs (run_id);
CREATE VIEW runs_flat as 
        select r.run_id, r.dataset, r.backbone, r.objective, r.miner, r.sampler, r.regularizer, r.seed,
            r.state, r.cause, m.selection, max(m.epoch) as epoch,
            max(case when m.split = 'test' and m.metric = 'recall_at_1' then m.value end) as recall_at_1,
max(case when m.split = 'test' and m.metric = 'recall_at_2' then m.value end) as recall_at_2,
max(case when m.split = 'test' and m.metric = 'recall_at_4' then m.value end) as recall_at_4,
max(case when m.split = 'test' and m.metric = 'recall_at_8' then m.value end) as recall_at_8,
max(case when m.split = 'test' and m.metric = 'map_at_r' then m.value end) as map_at_r,
max(case when m.split = 'test' and m.metric = 'map_at_c' then m.value end) as map_at_c,
max(case when m.split = 'test' and m.metric = 'map_at_1000' then m.value end) as map_at_1000,
max(case when m.split = 'test' and m.metric = 'r_precision' then m.value end) as r_precision,
max(case when m.split = 'test' and m.metric = 'nmi' then m.value end) as nmi,
max(case when m.split = 'test' and m.metric = 'ami' then m.value end) as ami,
max(case when m.split = 'test' and m.metric = 'f1' then m.value end) as f1,
max(case when m.split = 'test' and m.metric = 'pi_intra' then m.value end) as pi_intra,
max(case when m.split = 'test' and m.metric = 'pi_inter' then m.value end) as pi_inter,
max(case when m.split = 'test' and m.metric = 'density' then m.value end) as density,
max(case when m.split = 'test' and m.metric = 'uniformity' then m.value end) as uniformity,
max(case when m.split = 'test' and m.metric = 'alignment' then m.value end) as alignment,
max(case when m.split = 'test' and m.metric = 'rho' then m.value end) as rho,
max(case when m.split = 'train' and m.metric = 'pi_intra' then m.value end) as train_pi_intra,
max(case when m.split = 'train' and m.metric = 'pi_inter' then m.value end) as train_pi_inter,
max(case when m.split = 'train' and m.metric = 'density' then m.value end) as train_density,
max(case when m.split = 'train' and m.metric = 'uniformity' then m.value end) as train_uniformity,
max(case when m.split = 'train' and m.metric = 'alignment' then m.value end) as train_alignment,
max(case when m.split = 'train' and m.metric = 'rho' then m.value end) as train_rho
        from runs r left join measurements m on m.run_id = r.run_id
        group by r.run_id, r.dataset, r.backbone, r.objective, r.miner, r.sampler, r.regularizer, r.seed,
            r.state, r.cause, m.selection;
CREATE VIEW leaderboard as 
        select s.study, s.profile, r.dataset, r.backbone, s.method, m.selection,
            count(*) as runs, avg(m.value) as recall_at_1, min(m.value) as lowest, max(m.value) as highest
        from study_runs s
        join runs r on r.run_id = s.run_id
        join measurements m on m.run_id = r.run_id and m.split = 'test' and m.metric = 'recall_at_1'
        where r.state = 'done'
        group by s.study, s.profile, r.dataset, r.backbone, s.method, m.selection
        order by s.study, s.profile, r.dataset, r.backbone, m.selection, recall_at_1 desc;
COMMIT;
