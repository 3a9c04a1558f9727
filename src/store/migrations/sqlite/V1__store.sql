-- The business day that is open, and the revision of the reference data. One row.
CREATE TABLE clock (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    day      INTEGER NOT NULL,
    revision INTEGER NOT NULL
);

CREATE TABLE business_day (
    day       INTEGER PRIMARY KEY,
    opened_ms INTEGER NOT NULL,
    closed_ms INTEGER
);

-- One row per payment. The identity is ordered by time, so rows are appended.
CREATE TABLE txn (
    id                 INTEGER PRIMARY KEY,
    state              TEXT NOT NULL,
    day                INTEGER NOT NULL,
    node               INTEGER NOT NULL,
    dialect            TEXT NOT NULL,
    kind               TEXT NOT NULL,
    processing_code    TEXT NOT NULL,
    tid                TEXT NOT NULL,
    mid                TEXT NOT NULL,
    batch              INTEGER NOT NULL,
    stan               INTEGER NOT NULL,
    currency           INTEGER,
    requested          INTEGER,
    amount             INTEGER,
    refunded           INTEGER NOT NULL,
    card_cipher        BLOB,
    card_lookup        BLOB,
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
    link_stan          INTEGER,
    link_time          TEXT NOT NULL,
    issuer_rrn         TEXT,
    additional_amounts TEXT,
    icc                BLOB,
    original           INTEGER,
    claimed_by         INTEGER,
    received_ms        INTEGER NOT NULL,
    finished_ms        INTEGER,
    cleared_day        INTEGER,
    taken_back_day     INTEGER,
    key_generation     INTEGER NOT NULL
);
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
    batch INTEGER NOT NULL,
    stan  INTEGER NOT NULL,
    class TEXT NOT NULL,
    txn   INTEGER,
    PRIMARY KEY (mid, tid, batch, stan, class)
) WITHOUT ROWID;

-- The batch that a terminal fills now, with upper bounds of the transactions on each side.
CREATE TABLE open_batch (
    mid    TEXT NOT NULL,
    tid    TEXT NOT NULL,
    number INTEGER NOT NULL,
    debit  INTEGER NOT NULL,
    credit INTEGER NOT NULL,
    PRIMARY KEY (mid, tid)
) WITHOUT ROWID;

CREATE TABLE batch (
    mid                   TEXT NOT NULL,
    tid                   TEXT NOT NULL,
    number                INTEGER NOT NULL,
    state                 TEXT NOT NULL,
    reason                TEXT,
    terminal_debit_count  INTEGER,
    terminal_debit        INTEGER,
    terminal_credit_count INTEGER,
    terminal_credit       INTEGER,
    host_debit_count      INTEGER,
    host_debit            INTEGER,
    host_credit_count     INTEGER,
    host_credit           INTEGER,
    balanced              INTEGER,
    settled_ms            INTEGER,
    count_differs         INTEGER NOT NULL DEFAULT 0,
    closed_ms             INTEGER,
    pruned                INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (mid, tid, number)
) WITHOUT ROWID;

CREATE TABLE upload (
    mid   TEXT NOT NULL,
    tid   TEXT NOT NULL,
    batch INTEGER NOT NULL,
    stan  INTEGER NOT NULL,
    minor INTEGER NOT NULL,
    PRIMARY KEY (mid, tid, batch, stan)
) WITHOUT ROWID;

-- Working keys: key blocks under the LMK.
CREATE TABLE session (
    mid                 TEXT NOT NULL,
    tid                 TEXT NOT NULL,
    generation          INTEGER NOT NULL,
    tpk                 TEXT NOT NULL,
    tak                 TEXT NOT NULL,
    tdk                 TEXT,
    previous_generation INTEGER,
    previous_tpk        TEXT,
    previous_tak        TEXT,
    previous_tdk        TEXT,
    PRIMARY KEY (mid, tid)
) WITHOUT ROWID;

-- Store and forward, in the order of delivery.
CREATE TABLE saf (
    id        INTEGER PRIMARY KEY,
    issuer    TEXT NOT NULL,
    what      TEXT NOT NULL,
    txn       INTEGER NOT NULL,
    card      BLOB,
    state     TEXT NOT NULL,
    code      TEXT,
    attempts  INTEGER NOT NULL,
    next_ms   INTEGER NOT NULL,
    queued_ms INTEGER NOT NULL,
    stan      INTEGER,
    rrn       TEXT,
    link_time TEXT,
    UNIQUE (txn, what)
);
CREATE INDEX saf_undelivered ON saf (issuer, id) WHERE state IN ('waiting', 'parked');
CREATE INDEX saf_card ON saf (issuer, card, id) WHERE state IN ('waiting', 'parked');
CREATE INDEX saf_waiting ON saf (issuer, next_ms) WHERE state = 'waiting';

CREATE TABLE lease (
    name     TEXT PRIMARY KEY,
    holder   INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE merchant (
    mid              TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    city             TEXT NOT NULL,
    country          TEXT NOT NULL,
    mcc              TEXT NOT NULL,
    fee_basis_points TEXT NOT NULL,
    active           INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE terminal (
    mid               TEXT NOT NULL,
    tid               TEXT NOT NULL,
    dialect           TEXT NOT NULL,
    currency          INTEGER NOT NULL,
    tmk               TEXT,
    static_generation INTEGER,
    static_tpk        TEXT,
    static_tak        TEXT,
    static_tdk        TEXT,
    active            INTEGER NOT NULL,
    PRIMARY KEY (mid, tid)
) WITHOUT ROWID;

CREATE TABLE route (
    prefix  TEXT NOT NULL,
    pan_min INTEGER NOT NULL,
    pan_max INTEGER NOT NULL,
    issuer  TEXT NOT NULL,
    PRIMARY KEY (prefix, pan_min, pan_max)
) WITHOUT ROWID;

CREATE TABLE issuer (
    id            TEXT PRIMARY KEY,
    acquirer_code TEXT NOT NULL,
    zpk           TEXT,
    zak           TEXT
) WITHOUT ROWID;

CREATE TABLE named_key (
    name  TEXT PRIMARY KEY,
    block TEXT NOT NULL,
    kcv   TEXT NOT NULL,
    usage TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE settlement_file (
    day       INTEGER NOT NULL,
    name      TEXT NOT NULL,
    kind      TEXT NOT NULL,
    party     TEXT NOT NULL,
    sha256    TEXT NOT NULL,
    records   INTEGER NOT NULL,
    sum_minor INTEGER NOT NULL,
    currency  INTEGER NOT NULL,
    PRIMARY KEY (day, name)
) WITHOUT ROWID;

CREATE TABLE posting (
    day       INTEGER NOT NULL,
    place     INTEGER NOT NULL,
    id        TEXT NOT NULL UNIQUE,
    debit     TEXT NOT NULL,
    credit    TEXT NOT NULL,
    minor     INTEGER NOT NULL,
    currency  INTEGER NOT NULL,
    reference TEXT NOT NULL,
    PRIMARY KEY (day, place)
) WITHOUT ROWID;
