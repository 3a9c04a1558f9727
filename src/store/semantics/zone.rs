//! Zone keys: a change is asked for, its key is durable as pending, both sides agree on it, and the first MAC under
//! it drops the key before.

use super::Clock;
use crate::store::sql::{Arg, Row, Sql};
use crate::store::{Issuer, Outcome, PendingKey, StoreError, ZoneKeyChange, ZoneKeyState, ZoneStep};
use crate::transaction::{IssuerId, ZoneUse};

/// The columns that [`read`] expects behind the issuer, of `zone_key z` and `issuer i`.
macro_rules! zone_columns {
    () => {
        "z.usage, i.zpk, i.zak, z.former, z.pending, z.sent, z.kcv, z.changed_ms, z.asked_ms"
    };
}

/// The state of a zone key out of its row.
pub(in crate::store) fn read(row: &mut Row) -> Result<ZoneKeyState, StoreError> {
    let (issuer, of) = (row.parse()?, row.name(ZoneUse::from_name)?);
    let (zpk, zak, former) = (row.opt_text()?, row.opt_text()?, row.opt_text()?);
    let (block, sent, kcv) = (row.opt_text()?, row.opt_text()?, row.opt_text()?);
    let current = match of {
        ZoneUse::Zpk => zpk,
        ZoneUse::Zak => zak,
    };
    let pending = block.zip(kcv).map(|(block, kcv)| PendingKey { block, sent, kcv });
    Ok(ZoneKeyState {
        issuer,
        of,
        current,
        former,
        pending,
        changed_ms: row.opt_int()?,
        asked_ms: row.opt_int()?,
    })
}

fn find(sql: &mut dyn Sql, issuer: IssuerId, of: ZoneUse) -> Result<Option<ZoneKeyState>, StoreError> {
    let text = concat!(
        "SELECT z.issuer, ",
        zone_columns!(),
        " FROM zone_key z JOIN issuer i ON i.id = z.issuer WHERE z.issuer = $1 AND z.usage = $2"
    );
    sql.first(text, &key(&issuer, of))?.map(|mut row| read(&mut row)).transpose()
}

fn key(issuer: &IssuerId, of: ZoneUse) -> [Arg<'_>; 2] {
    [issuer.trimmed().into(), of.name().into()]
}

/// Applies [`crate::store::Op::ZoneKey`].
pub(super) fn change(
    sql: &mut dyn Sql,
    clock: &mut Clock,
    change: &ZoneKeyChange,
) -> Result<Outcome, StoreError> {
    let (issuer, of) = (change.issuer, change.of);
    let known = "INSERT INTO zone_key (issuer, usage, imported) SELECT id, $1, CASE WHEN $2 = 'zpk' THEN zpk \
                 ELSE zak END FROM issuer WHERE id = $3 ON CONFLICT (issuer, usage) DO NOTHING";
    sql.execute(known, &[of.name().into(), of.name().into(), issuer.trimmed().into()])?;
    let Some(before) = find(sql, issuer, of)? else { return Ok(Outcome::NoIssuer) };
    let after = stepped(before.clone(), change);
    if after != before {
        write(sql, &after)?;
        sql.execute("UPDATE clock SET revision = revision + 1 WHERE one = 1", &[])?;
        clock.revision += 1;
    }
    Ok(Outcome::ZoneKey(Box::new(after)))
}

/// What a step makes of the state.
fn stepped(mut state: ZoneKeyState, change: &ZoneKeyChange) -> ZoneKeyState {
    let is_pending =
        |state: &ZoneKeyState, block: &str| state.pending.as_ref().is_some_and(|p| p.block == block);
    match &change.step {
        ZoneStep::Ask => {
            state.asked_ms.get_or_insert(change.at_ms);
        }
        ZoneStep::Forget => state.asked_ms = None,
        ZoneStep::Offer(offer) => {
            // Ours stays until the issuer has said what became of it: it may be in force there already.
            let ours = state.pending.as_ref().is_some_and(|pending| pending.sent.is_some());
            let done = state.current.as_ref() == Some(&offer.block);
            if !ours && !done {
                state.pending = Some(offer.clone());
            }
        }
        ZoneStep::Agree { block } if is_pending(&state, block) => {
            // The one before that was never proven is forgotten, not the one that was.
            if change.of == ZoneUse::Zak && state.former.is_none() {
                state.former = state.current.take();
            }
            state.current = Some(block.clone());
            (state.pending, state.asked_ms, state.changed_ms) = (None, None, Some(change.at_ms));
        }
        ZoneStep::Refuse { block } if is_pending(&state, block) => state.pending = None,
        ZoneStep::Prove { block } if state.current.as_ref() == Some(block) => state.former = None,
        ZoneStep::Agree { .. } | ZoneStep::Refuse { .. } | ZoneStep::Prove { .. } => {}
    }
    state
}

fn write(sql: &mut dyn Sql, state: &ZoneKeyState) -> Result<(), StoreError> {
    let update = "UPDATE zone_key SET former = $1, pending = $2, sent = $3, kcv = $4, changed_ms = $5, \
                  asked_ms = $6 WHERE issuer = $7 AND usage = $8";
    let pending = state.pending.as_ref();
    let [issuer, usage] = key(&state.issuer, state.of);
    let args = [
        state.former.as_ref().into(),
        pending.map(|p| &p.block).into(),
        pending.and_then(|p| p.sent.as_ref()).into(),
        pending.map(|p| &p.kcv).into(),
        state.changed_ms.into(),
        state.asked_ms.into(),
        issuer,
        usage,
    ];
    sql.execute(update, &args)?;
    let current = match state.of {
        ZoneUse::Zpk => "UPDATE issuer SET zpk = $1 WHERE id = $2",
        ZoneUse::Zak => "UPDATE issuer SET zak = $1 WHERE id = $2",
    };
    sql.execute(current, &[state.current.as_ref().into(), issuer])?;
    Ok(())
}

/// An issuer is put: a key that is imported as it was before it was changed in service stays changed; another one
/// takes its place, and what is known of the change is forgotten.
pub(super) fn put(sql: &mut dyn Sql, issuer: &Issuer) -> Result<Issuer, StoreError> {
    let mut kept = issuer.clone();
    for of in ZoneUse::ALL {
        let imported = "SELECT imported FROM zone_key WHERE issuer = $1 AND usage = $2";
        let Some(mut row) = sql.first(imported, &key(&issuer.id, of))? else { continue };
        let imported = row.opt_text()?;
        let given = match of {
            ZoneUse::Zpk => &mut kept.zpk,
            ZoneUse::Zak => &mut kept.zak,
        };
        if *given == imported {
            *given = find(sql, issuer.id, of)?.and_then(|state| state.current);
        } else {
            sql.execute("DELETE FROM zone_key WHERE issuer = $1 AND usage = $2", &key(&issuer.id, of))?;
        }
    }
    Ok(kept)
}

/// Every state, for readers.
pub(in crate::store) const ALL: &str = concat!(
    "SELECT z.issuer, ",
    zone_columns!(),
    " FROM zone_key z JOIN issuer i ON i.id = z.issuer ORDER BY z.issuer, z.usage"
);
