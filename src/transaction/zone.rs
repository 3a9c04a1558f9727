//! Which of the keys shared with an issuer is meant.

/// A key that is shared with an issuer and changed in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ZoneUse {
    /// Zone PIN key: PIN blocks (DE 52) on the link.
    Zpk,
    /// Zone MAC key: MACs (DE 64, DE 128) on the link.
    Zak,
}

impl ZoneUse {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Zpk, Self::Zak];

    /// A stable name: `zpk`, `zak`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zpk => "zpk",
            Self::Zak => "zak",
        }
    }

    /// The use of that name, in either case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(name))
    }
}
