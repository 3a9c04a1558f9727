//! Ways in which a terminal can misbehave, for tests: each is used up by the next request.

/// What goes wrong with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One bit of the MAC is turned.
    BadMac,
    /// The MAC is left out, its bitmap bit too.
    NoMac,
    /// So many octets are cut off the body's end; the length prefix fits what is left.
    Truncated(usize),
    /// Half of the frame is sent, then nothing more; the terminal waits its whole time.
    StopMidFrame,
    /// The answer is read off the wire and thrown away: the terminal acts as if none had come.
    DropReply,
    /// The terminal closes its connection as soon as the request is written.
    HangUp,
    /// The same frame is sent twice in a row. One answer is read, then the connection is closed.
    Duplicate,
    /// The approval comes and the terminal's chip declines: a reversal with reason 06 is due.
    NotTaken,
    /// The totals of the next settlement are off by so many minor units in debit.
    WrongTotals(i64),
}
