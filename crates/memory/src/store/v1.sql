-- Format 1 of sessions.db. It never changes: what is to be different is a migration to the next one.

-- Unsigned numbers of 64 bits (tenants, tokenizers, keys) are stored as signed ones of the same bits.
CREATE TABLE sessions (
  row INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  name TEXT,
  title TEXT NOT NULL,
  model TEXT NOT NULL,
  created INTEGER NOT NULL, -- Unix seconds, as all times
  used INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  turns INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  UNIQUE (tenant, id)
);
CREATE INDEX sessions_by_use ON sessions (used);

-- Every text of a turn, once. One with a handle stays when its turn is replaced.
CREATE TABLE texts (
  row INTEGER PRIMARY KEY,
  session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
  handle TEXT,
  tool TEXT,
  tokens INTEGER NOT NULL,
  calls TEXT,
  text TEXT NOT NULL
);
CREATE INDEX texts_by_session ON texts (session);
CREATE UNIQUE INDEX texts_by_handle ON texts (handle, session) WHERE handle IS NOT NULL;

CREATE TABLE turns (
  session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
  at INTEGER NOT NULL,
  role TEXT NOT NULL,
  call_id TEXT,
  text INTEGER NOT NULL REFERENCES texts ON DELETE CASCADE,
  PRIMARY KEY (session, at)
) WITHOUT ROWID;
CREATE INDEX turns_by_text ON turns (text);

CREATE TABLE distillations (
  session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
  handle TEXT NOT NULL,
  tokens INTEGER NOT NULL,
  original_tokens INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (session, handle)
) WITHOUT ROWID;

-- Where sessions are in the segments from which AgentSAM drafts.
CREATE TABLE segments (
  session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
  tokenizer INTEGER NOT NULL,
  key INTEGER NOT NULL,
  PRIMARY KEY (session, tokenizer, key)
) WITHOUT ROWID;

CREATE TABLE tool_times (
  tenant INTEGER NOT NULL,
  tool TEXT NOT NULL,
  log_seconds REAL NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (tenant, tool)
) WITHOUT ROWID;

CREATE TABLE competence (
  tenant INTEGER NOT NULL,
  pair TEXT NOT NULL,
  json TEXT NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (tenant, pair)
) WITHOUT ROWID;

-- Has a row from the moment sessions are erased until their bytes are gone too.
CREATE TABLE erasing (since INTEGER NOT NULL);

-- The words of the texts, by their rows; the texts themselves are not kept in it.
CREATE VIRTUAL TABLE search USING fts5 (text, calls, content = '');
-- What is deleted is taken out at once instead of being marked.
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
