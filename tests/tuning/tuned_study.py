"""A study of three methods that are tuned, small enough to be trained in a test."""

STUDY = """
schema: 1
name: mini
question: Does tuning work?
run:
  dataset: {name: glyphs, instances: 6, classes: 12}
  backbone: {name: convnet, embedding_dim: 8}
  training: {epochs: 3, batch_size: 8, augmentation: shift}
  optimizer: {name: adam, lr: 1e-3}
seeds: 2
grid:
  - objective: proxy_nca
  - objective: triplet
    miner: [semihard, random]
tune:
  trials: 6
  folds: 3
  batch: 3
  space:
    optimizer: {lr: {log: [1e-4, 1e-2]}}
    objective: {triplet: {margin: {uniform: [0.05, 0.5]}}}
"""
