-- Zone master key, under which zone keys are exchanged.
ALTER TABLE issuer ADD COLUMN zmk TEXT;

-- Zone keys that are being changed, or were: key blocks under the LMK, but sent, which is under the ZMK.
-- usage is zpk or zak; the key in force stands in the issuer's row.
CREATE TABLE zone_key (
    issuer     TEXT NOT NULL,
    usage      TEXT NOT NULL,
    imported   TEXT,
    former     TEXT,
    pending    TEXT,
    sent       TEXT,
    kcv        TEXT,
    changed_ms BIGINT,
    asked_ms   BIGINT,
    PRIMARY KEY (issuer, usage)
);
