//! The targets of calls and jumps, between distances and places.
//!
//! A function that is called from fifty places has fifty different distances in the code, but one address: with addresses
//! in place of distances the code repeats itself more, and packs smaller. Whatever looks like a call is treated as one; what
//! counts is that both directions agree on what was changed.

/// `call` and `jmp` with a distance of 32 bits.
const OPCODES: [u8; 2] = [0xe8, 0xe9];
const LEN: usize = 5;

/// Replaces distances by addresses from the start of `code`.
pub fn make_absolute(code: &mut [u8]) {
    change(code, |at, distance, len| match distance {
        // What leads to the inside of the code; and what would be taken for that on the way back makes room.
        _ if (-at..len - at).contains(&distance) => distance + at,
        _ if (len - at..len).contains(&distance) => distance - len,
        _ => distance,
    });
}

/// The way back from [`make_absolute`].
pub fn make_relative(code: &mut [u8]) {
    change(code, |at, address, len| match address {
        _ if (0..len).contains(&address) => address - at,
        _ if (-at..0).contains(&address) => address + len,
        _ => address,
    });
}

/// Calls `new` with place, value and the code's length for each value; what has been changed is not looked at again.
fn change(code: &mut [u8], new: impl Fn(i32, i32, i32) -> i32) {
    let Ok(len) = i32::try_from(code.len()) else { return };
    let mut at = 0;
    while let Some(piece) = code.get_mut(at..at + LEN) {
        if let [opcode, value @ ..] = piece
            && OPCODES.contains(opcode)
            && let Ok(bytes) = <[u8; 4]>::try_from(&*value)
        {
            value.copy_from_slice(&new(at as i32, i32::from_le_bytes(bytes), len).to_le_bytes());
            at += LEN;
        } else {
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn calls_of_one_function_look_alike() {
        let mut code = [0xe8, 0x20, 0, 0, 0, 0x90, 0xe8, 0x1a, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        code.resize(0x40, 0);
        make_absolute(&mut code);
        assert_eq!(code[1..5], code[7..11]);
    }

    proptest! {
        #[test]
        fn the_way_back_leads_back(mut code in proptest::collection::vec(prop_oneof![Just(0xe8u8), Just(0), Just(0xff), any::<u8>()], 0..200)) {
            let before = code.clone();
            make_absolute(&mut code);
            make_relative(&mut code);
            prop_assert_eq!(code, before);
        }
    }
}
