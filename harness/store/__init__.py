"""The store: run folders (`spool`), the database (`schema`, `database`) and frames to read it by (`frames`)."""
