//! Buffers of octets that are used again, and keep nothing of what was in them. What is freed the allocator wipes.

/// Takes octets off the front; what is behind them moves there.
pub(super) fn take_front(buffer: &mut Vec<u8>, count: usize) {
    let taken = count.min(buffer.len());
    let left = buffer.len() - taken;
    buffer.copy_within(taken.., 0);
    buffer.iter_mut().skip(left).for_each(|octet| *octet = 0);
    buffer.truncate(left);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone() {
        for (count, left) in [(0, "abcdef"), (1, "bcdef"), (4, "ef"), (5, "f"), (6, ""), (7, "")] {
            let mut buffer = b"abcdef".to_vec();
            let place = buffer.as_ptr();
            take_front(&mut buffer, count);
            assert_eq!(buffer, left.as_bytes());
            assert_eq!(buffer.as_ptr(), place);
        }
    }
}
