-- The business day that is open, and the revision of the reference data. One row.
CREATE TABLE clock (
    one      BIGINT PRIMARY KEY CHECK (one = 1),
    day      BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE business_day (
    day       BIGINT PRIMARY KEY,
    opened_ms BIGINT NOT NULL,
    closed_ms BIGINT
);

-- One row per payment. The identity is ordered by time, so rows are appended.
CREATE TABLE txn (
    id                 BIGINT PRIMARY KEY,
    state              TEXT NOT NULL,
    day                BIGINT NOT NULL,
    node               BIGINT NOT NULL,
    dialect            TEXT NOT NULL,
    kind               TEXT NOT NULL,
    processing_code    TEXT NOT NULL,
    tid                TEXT NOT NULL,
    mid                TEXT NOT NULL,
    batch              BIGINT NOT NULL,
    stan               BIGINT NOT NULL,
    currency           BIGINT,
    requested          BIGINT,
    amount             BIGINT,
    refunded           BIGINT NOT NULL,
    card_cipher        BYTEA,
    card_lookup        BYTEA,
    card_masked        TEXT,
    expiry             TEXT,
    card_sequence      TEXT,
    entry_mode         TEXT NOT NULL,
    condition          TEXT NOT NULL,
    terminal_time      TEXT NOT NULL,
    invoice            TEXT,
    rrn                TEXT NOT NULL,
    auth_code          TEXT,
    code               TEXT,
    refusal            TEXT,
    issuer             TEXT NOT NULL,
    link_stan          BIGINT,
    link_time          TEXT NOT NULL,
    issuer_rrn         TEXT,
    additional_amounts TEXT,
    icc                BYTEA,
    original           BIGINT,
    claimed_by         BIGINT,
    received_ms        BIGINT NOT NULL,
    finished_ms        BIGINT,
    cleared_day        BIGINT,
    taken_back_day     BIGINT,
    key_generation     BIGINT NOT NULL
) WITH (fillfactor = 70);
-- RRNs grow within a day and days grow: appended too.
CREATE INDEX txn_day_rrn ON txn (day, rrn);
-- Small: only what has no outcome, only claimants, only what is in a file.
CREATE INDEX txn_open ON txn (node) WHERE state IN ('sent', 'abandoned');
CREATE INDEX txn_original ON txn (original) WHERE original IS NOT NULL;
CREATE INDEX txn_cleared ON txn (cleared_day) WHERE cleared_day IS NOT NULL;
CREATE INDEX txn_taken_back ON txn (taken_back_day) WHERE taken_back_day IS NOT NULL;

-- Duplicates: a used key and its transaction; no transaction where a reversal came first.
-- Pruned when the batch is settled and older than the window.
CREATE TABLE txn_key (
    mid   TEXT NOT NULL,
    tid   TEXT NOT NULL,
    batch BIGINT NOT NULL,
    stan  BIGINT NOT NULL,
    class TEXT NOT NULL,
    txn   BIGINT,
    PRIMARY KEY (mid, tid, batch, stan, class)
);

-- The batch that a terminal fills now, with upper bounds of the transactions on each side.
CREATE TABLE open_batch (
    mid    TEXT NOT NULL,
    tid    TEXT NOT NULL,
    number BIGINT NOT NULL,
    debit  BIGINT NOT NULL,
    credit BIGINT NOT NULL,
    PRIMARY KEY (mid, tid)
) WITH (fillfactor = 50);

CREATE TABLE batch (
    mid                   TEXT NOT NULL,
    tid                   TEXT NOT NULL,
    number                BIGINT NOT NULL,
    state                 TEXT NOT NULL,
    reason                TEXT,
    terminal_debit_count  BIGINT,
    terminal_debit        BIGINT,
    terminal_credit_count BIGINT,
    terminal_credit       BIGINT,
    host_debit_count      BIGINT,
    host_debit            BIGINT,
    host_credit_count     BIGINT,
    host_credit           BIGINT,
    balanced              BIGINT,
    settled_ms            BIGINT,
    count_differs         BIGINT NOT NULL DEFAULT 0,
    closed_ms             BIGINT,
    pruned                BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (mid, tid, number)
);

CREATE TABLE upload (
    mid   TEXT NOT NULL,
    tid   TEXT NOT NULL,
    batch BIGINT NOT NULL,
    stan  BIGINT NOT NULL,
    minor BIGINT NOT NULL,
    PRIMARY KEY (mid, tid, batch, stan)
);

-- Working keys: key blocks under the LMK.
CREATE TABLE session (
    mid                 TEXT NOT NULL,
    tid                 TEXT NOT NULL,
    generation          BIGINT NOT NULL,
    tpk                 TEXT NOT NULL,
    tak                 TEXT NOT NULL,
    tdk                 TEXT,
    previous_generation BIGINT,
    previous_tpk        TEXT,
    previous_tak        TEXT,
    previous_tdk        TEXT,
    PRIMARY KEY (mid, tid)
);

-- Store and forward, in the order of delivery.
CREATE TABLE saf (
    id        BIGINT PRIMARY KEY,
    issuer    TEXT NOT NULL,
    what      TEXT NOT NULL,
    txn       BIGINT NOT NULL,
    card      BYTEA,
    state     TEXT NOT NULL,
    code      TEXT,
    attempts  BIGINT NOT NULL,
    next_ms   BIGINT NOT NULL,
    queued_ms BIGINT NOT NULL,
    stan      BIGINT,
    rrn       TEXT,
    link_time TEXT,
    UNIQUE (txn, what)
);
CREATE INDEX saf_undelivered ON saf (issuer, id) WHERE state IN ('waiting', 'parked');
CREATE INDEX saf_card ON saf (issuer, card, id) WHERE state IN ('waiting', 'parked');
CREATE INDEX saf_waiting ON saf (issuer, next_ms) WHERE state = 'waiting';

CREATE TABLE lease (
    name     TEXT PRIMARY KEY,
    holder   BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE merchant (
    mid              TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    city             TEXT NOT NULL,
    country          TEXT NOT NULL,
    mcc              TEXT NOT NULL,
    fee_basis_points TEXT NOT NULL,
    active           BIGINT NOT NULL
);

CREATE TABLE terminal (
    mid               TEXT NOT NULL,
    tid               TEXT NOT NULL,
    dialect           TEXT NOT NULL,
    currency          BIGINT NOT NULL,
    tmk               TEXT,
    static_generation BIGINT,
    static_tpk        TEXT,
    static_tak        TEXT,
    static_tdk        TEXT,
    active            BIGINT NOT NULL,
    PRIMARY KEY (mid, tid)
);

CREATE TABLE route (
    prefix  TEXT NOT NULL,
    pan_min BIGINT NOT NULL,
    pan_max BIGINT NOT NULL,
    issuer  TEXT NOT NULL,
    PRIMARY KEY (prefix, pan_min, pan_max)
);

CREATE TABLE issuer (
    id            TEXT PRIMARY KEY,
    acquirer_code TEXT NOT NULL,
    zpk           TEXT,
    zak           TEXT
);

CREATE TABLE named_key (
    name  TEXT PRIMARY KEY,
    block TEXT NOT NULL,
    kcv   TEXT NOT NULL,
    usage TEXT NOT NULL
);

CREATE TABLE settlement_file (
    day       BIGINT NOT NULL,
    name      TEXT NOT NULL,
    kind      TEXT NOT NULL,
    party     TEXT NOT NULL,
    sha256    TEXT NOT NULL,
    records   BIGINT NOT NULL,
    sum_minor BIGINT NOT NULL,
    currency  BIGINT NOT NULL,
    PRIMARY KEY (day, name)
);

CREATE TABLE posting (
    day       BIGINT NOT NULL,
    place     BIGINT NOT NULL,
    id        TEXT NOT NULL UNIQUE,
    debit     TEXT NOT NULL,
    credit    TEXT NOT NULL,
    minor     BIGINT NOT NULL,
    currency  BIGINT NOT NULL,
    reference TEXT NOT NULL,
    PRIMARY KEY (day, place)
);
