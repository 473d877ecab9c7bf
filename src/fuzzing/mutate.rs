//! Mutations of inputs: the same in every run, and aware that much of what Fabric sends is messages in messages.
//!
//! A module of its own because a flipped byte somewhere in a block breaks a length, and the decoder is done. Here a
//! field is changed in its place, however deep, and the lengths around it are put right.

/// Numbers that look like chance and are not.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that always fall the same for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end.max(1)).unwrap_or(u64::MAX)).unwrap_or(0)
    }
}

/// What means something in one of the formats, or lies at the end of a range.
const WORDS: &[&[u8]] = &[
    b"",
    b"\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x08",
    b"\x30\x84\xff\xff\xff\xff",
    b"\x30\x80",
    b"\x02\x01\x00",
    b"\xe2\x80\xa8",
    b"\xed\xa0\x80",
    b"-----BEGIN CERTIFICATE-----\n",
    b"-----END CERTIFICATE-----\n",
    b"Proc-Type: 4,ENCRYPTED\n",
    b"\r\n",
    b"\r\n\r\n--",
    b"{\"a\":",
    b"[[",
    b"null",
    b"-0",
    b"1e999",
    b"18446744073709551616",
    b"\\ud800",
    b"\\u0000",
    b"OutOf(2147483648, ",
    b"AND(",
    b"'Org1MSP.member'",
    b"`",
    b"/*",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!binary ",
    b"- ",
    b"../",
    b"%2",
];

/// `input` with one thing about it changed; at most `longest` bytes.
pub fn mutate(input: &[u8], dice: &mut Dice, longest: usize) -> Vec<u8> {
    let mut changed =
        if dice.below(3) > 0 { message(input, dice, 0) } else { None }.unwrap_or_else(|| bytes(input, dice));
    changed.truncate(longest);
    changed
}

fn bytes(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = input.to_vec();
    let at = dice.below(out.len() + 1);
    let length = dice.below(16.min(out.len() - at) + 1);
    let word = WORDS[dice.below(WORDS.len())];
    match dice.below(8) {
        0 | 1 if at < out.len() => out[at] ^= 1 << dice.below(8),
        2 if at < out.len() => out[at] = dice.below(256).to_le_bytes()[0],
        3 => drop(out.drain(at..at + length)),
        4 => {
            let copy = out[at..at + length].repeat(1 + dice.below(40));
            out.splice(at..at, copy);
        }
        5 => out.truncate(at),
        6 => drop(out.splice(at..at + length, word.iter().copied())),
        _ => drop(out.splice(at..at, word.iter().copied())),
    }
    out
}

/// A field of a message: what stands before its contents, and these.
#[derive(Clone)]
struct Field {
    /// The field's number and the kind of its value.
    key: u64,
    /// The value, without its length.
    value: Vec<u8>,
}

fn varint(input: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *input.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The kinds of values that are numbers, and that follow their length.
const NUMBER: u64 = 0;
const LENGTH: u64 = 2;

impl Field {
    fn is(&self, kind: u64) -> bool {
        self.key % 8 == kind
    }
}

/// The fields of what may be a message.
fn fields(input: &[u8]) -> Option<Vec<Field>> {
    let (mut at, mut fields) = (0, Vec::new());
    while at < input.len() {
        let key = varint(input, &mut at)?;
        if !(1..=200).contains(&(key / 8)) {
            return None;
        }
        let start = at;
        let end = match key % 8 {
            NUMBER => {
                varint(input, &mut at)?;
                at
            }
            1 => at + 8,
            LENGTH => {
                let length = usize::try_from(varint(input, &mut at)?).ok()?;
                at.checked_add(length)?
            }
            5 => at + 4,
            _ => return None,
        };
        let start = if key % 8 == LENGTH { at } else { start };
        fields.push(Field { key, value: input.get(start..end)?.to_vec() });
        at = end;
    }
    Some(fields).filter(|fields| !fields.is_empty())
}

fn written(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        write_varint(field.key, &mut out);
        if field.is(LENGTH) {
            write_varint(u64::try_from(field.value.len()).unwrap_or(0), &mut out);
        }
        out.extend_from_slice(&field.value);
    }
    out
}

/// A message with something changed in it; `None` for what is none.
fn message(input: &[u8], dice: &mut Dice, depth: usize) -> Option<Vec<u8>> {
    const DEEPEST: usize = 24;
    let mut fields = fields(input)?;
    let at = dice.below(fields.len());
    if fields[at].is(LENGTH) && depth < DEEPEST && dice.below(5) > 0 {
        let inner = message(&fields[at].value, dice, depth + 1);
        fields[at].value = inner.unwrap_or_else(|| bytes(&fields[at].value, dice));
        return Some(written(&fields));
    }
    match dice.below(8) {
        0 => drop(fields.remove(at)),
        1 => {
            let copies = vec![fields[at].clone(); 1 + dice.below(30)];
            fields.splice(at..at, copies);
        }
        2 => {
            let other = dice.below(fields.len());
            fields.swap(at, other);
        }
        3 => fields[at].key = fields[at].key % 8 + 8 * (1 + u64::try_from(dice.below(12)).unwrap_or(0)),
        4 if fields[at].is(LENGTH) => fields[at].value.clear(),
        // The message within itself.
        5 if input.len() < 2000 => {
            for _ in 0..=dice.below(8) {
                fields[at] = Field { key: fields[at].key / 8 * 8 + LENGTH, value: written(&fields) };
            }
        }
        6 if fields[at].is(NUMBER) => {
            let mut value = Vec::new();
            write_varint(u64::MAX >> dice.below(64), &mut value);
            fields[at].value = value;
        }
        _ if fields[at].is(LENGTH) => fields[at].value = bytes(&fields[at].value, dice),
        _ if fields[at].is(NUMBER) => fields[at].value = vec![dice.below(128).to_le_bytes()[0]],
        _ => {}
    }
    Some(written(&fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_apart_is_put_together_again() {
        let block = include_bytes!("../../testdata/golden/blocks/07-single/block.pb");
        assert_eq!(written(&fields(block).unwrap()), block);
        assert!(fields(b"text").is_none());
    }

    #[test]
    fn mutations_are_the_same_in_every_run_and_most_still_messages() {
        let block = &include_bytes!("../../testdata/golden/blocks/07-single/block.pb")[..];
        let run = || (0..200).map(|seed| mutate(block, &mut Dice::new(seed), 1 << 16)).collect::<Vec<_>>();
        let mutated = run();
        assert_eq!(mutated, run());
        let different = mutated.iter().filter(|mutated| *mutated != block).count();
        let sound = mutated.iter().filter(|mutated| crate::fabric::block::Block::decode((*mutated).clone()).is_ok());
        assert!(different > 150 && sound.count() > 100);
    }
}
