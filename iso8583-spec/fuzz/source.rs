//! Choices, drawn one after the other from octets: those of a fuzzer, or those of a property test. When the octets
//! are used up, every choice is the first one.

/// Octets to choose by.
pub(crate) struct Source<'a> {
    octets: &'a [u8],
}

impl<'a> Source<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Source<'a> {
        Source { octets }
    }

    pub(crate) fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.octets.split_first() else { return 0 };
        self.octets = rest;
        *first
    }

    /// What has not been drawn.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.octets
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let mut number = usize::from(self.octet());
        if end > 256 {
            number = number << 8 | usize::from(self.octet());
        }
        number % end
    }

    /// A number from `least` to `most`.
    pub(crate) fn within(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// True one time in `times`; never when the octets are used up.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.one_in(2)
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
