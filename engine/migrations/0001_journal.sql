-- The journal: what was run, what happened, what was measured. Times are whole microseconds since the run started,
-- `started_ms` is Unix milliseconds. Whole values are JSON; what is searched for or counted has a column of its own.

CREATE TABLE runs (
    id          TEXT   NOT NULL PRIMARY KEY,
    experiment  TEXT   NOT NULL,
    environment TEXT   NOT NULL,
    started_ms  BIGINT NOT NULL,
    start       TEXT   NOT NULL, -- RunStart
    verdict     TEXT,            -- none: it is running, or it died
    exit_code   BIGINT,
    took_us     BIGINT,
    reason      TEXT,            -- the first one
    ending      TEXT             -- RunEnd
);

CREATE INDEX runs_by_start ON runs (started_ms, id);
CREATE INDEX runs_by_experiment ON runs (experiment, started_ms);

CREATE TABLE events (
    run_id TEXT   NOT NULL REFERENCES runs (id),
    seq    BIGINT NOT NULL,
    at_us  BIGINT NOT NULL,
    kind   TEXT   NOT NULL,
    body   TEXT   NOT NULL, -- Event
    PRIMARY KEY (run_id, seq)
);

CREATE TABLE series (
    id     BIGINT NOT NULL PRIMARY KEY,
    run_id TEXT   NOT NULL REFERENCES runs (id),
    name   TEXT   NOT NULL,
    UNIQUE (run_id, name)
);

CREATE TABLE samples (
    series_id BIGINT  NOT NULL REFERENCES series (id),
    seq       BIGINT  NOT NULL,
    at_us     BIGINT  NOT NULL,
    took_us   BIGINT  NOT NULL,
    ok        BOOLEAN NOT NULL,
    status    BIGINT,
    value     DOUBLE PRECISION,
    text      TEXT,
    PRIMARY KEY (series_id, seq)
) WITHOUT ROWID;

-- One row, written whenever the journal is opened: the proof that it can be written.
CREATE TABLE opened (
    id     BIGINT NOT NULL PRIMARY KEY,
    at_ms  BIGINT NOT NULL
);
