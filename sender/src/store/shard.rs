//! Shards: the parts in which endpoints are divided among nodes.
//!
//! A shard is owned whole, by one node at a time, so the owner keeps what is in flight, the rate, the order and the
//! breaker of an endpoint in its own memory and is right about them. The number of shards never changes: it is in every row
//! of what is live.

use std::fmt;

use crate::id::EndpointId;

/// One of the [`Shard::COUNT`] parts of all endpoints.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Shard(u8);

/// A set of shards.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Shards([u64; 4]);

impl Shard {
    /// How many there are.
    pub const COUNT: usize = 256;

    /// The one that decides who else decides: its owner does what one node alone must do.
    pub const LEADING: Self = Self(0);

    /// The shard of an endpoint. The last byte of a UUIDv7 is random (RFC 9562 §5.7), so it is hash enough.
    pub fn of(endpoint: EndpointId) -> Self {
        Self(endpoint.as_bytes()[15])
    }

    /// The shard with this number.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    fn place(self) -> (usize, u64) {
        (usize::from(self.0 >> 6), 1 << (self.0 & 63))
    }
}

impl Shards {
    /// None.
    pub const NONE: Self = Self([0; 4]);

    /// Every one.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// Whether this one is among them.
    pub fn contains(&self, shard: Shard) -> bool {
        let (word, bit) = shard.place();
        self.0[word] & bit != 0
    }

    /// Whether the shard of this endpoint is among them.
    pub fn have(&self, endpoint: EndpointId) -> bool {
        self.contains(Shard::of(endpoint))
    }

    /// Adds one.
    pub fn insert(&mut self, shard: Shard) {
        let (word, bit) = shard.place();
        self.0[word] |= bit;
    }

    /// Takes one away.
    pub fn remove(&mut self, shard: Shard) {
        let (word, bit) = shard.place();
        self.0[word] &= !bit;
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.by_word(other, |one, other| one & other)
    }

    /// What is in one of them, or in both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.by_word(other, |one, other| one | other)
    }

    /// What is here and not there.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        self.by_word(other, |one, other| one & !other)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Each of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Shard> + use<> {
        let all = *self;
        (0..=u8::MAX).map(Shard).filter(move |shard| all.contains(*shard))
    }

    fn by_word(self, other: Self, work: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|word| work(self.0[word], other.0[word])))
    }
}

impl FromIterator<Shard> for Shards {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Self {
        let mut all = Self::NONE;
        shards.into_iter().for_each(|shard| all.insert(shard));
        all
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Shard::number)).finish()
    }
}

/// As 64 hexadecimal digits, shard 0 being the lowest bit of the last one.
impl fmt::Display for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl Shards {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut words = [0; 4];
        for (word, place) in words.iter_mut().rev().zip(0_usize..) {
            *word = u64::from_str_radix(text.get(place * 16..place * 16 + 16)?, 16).ok()?;
        }
        Some(Self(words))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_shards_does_what_a_set_does(one in prop::collection::btree_set(any::<u8>(), 0..99), other in prop::collection::btree_set(any::<u8>(), 0..99)) {
            let set = |numbers: &std::collections::BTreeSet<u8>| numbers.iter().copied().map(Shard).collect::<Shards>();
            let numbers = |set: Shards| set.iter().map(Shard::number).collect::<std::collections::BTreeSet<_>>();
            prop_assert_eq!(numbers(set(&one).and(set(&other))), &one & &other);
            prop_assert_eq!(numbers(set(&one).or(set(&other))), &one | &other);
            prop_assert_eq!(numbers(set(&one).without(set(&other))), &one - &other);
            prop_assert_eq!(set(&one).len(), one.len());
            prop_assert_eq!(Shards::parse(&set(&one).to_string()), Some(set(&one)));
        }
    }

    #[test]
    fn the_text_form_is_checked() {
        assert_eq!(Shards::parse(&Shards::ALL.to_string()), Some(Shards::ALL));
        for bad in ["", "0", &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(Shards::parse(bad), None, "{bad}");
        }
    }
}
