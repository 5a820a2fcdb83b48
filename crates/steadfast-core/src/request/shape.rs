//! What requests of one kind have in common: their path without what looks like an id.
//!
//! Whoever stands outside the application's router knows no more of a route than the path. Of its
//! segments those are taken for ids that are a third digits or more, or long with a digit in
//! them, or have a `%` or an `@`: numbers, dates, UUIDs, hashes, keys, addresses. A version (`v1`)
//! is none. Words are not, so a route whose parameter is a word is as many routes as there are
//! words.
//!
//! ```
//! use steadfast_core::plumbing::shape;
//!
//! assert_eq!(shape("/v1/orders/42/lines"), "/v1/orders/*/lines");
//! ```

/// Bytes of a path that are looked at.
const LEN_MAX: usize = 256;

/// Segments that are looked at: whatever lies below the eighth is one route.
const SEGMENTS_MAX: usize = 8;

/// Bytes of a word with a digit that is too long for a name: half a UUID without dashes.
const LONG: usize = 16;

/// What stands for an id.
const ID: &str = "*";

/// Returns the path with a star for what looks like an id.
#[must_use]
pub fn shape(path: &str) -> String {
    let shape: String = segments(path).flat_map(|segment| ["/", segment]).collect();
    match shape.is_empty() {
        true => "/".to_owned(),
        false => shape,
    }
}

/// Returns a number that paths of one shape have in common (FNV-1a, then mixed, so that all its
/// bits depend on all of the path).
pub(crate) fn hash(path: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    for segment in segments(path) {
        eat(b'/');
        segment.bytes().for_each(&mut eat);
    }
    hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut end = path.len().min(LEN_MAX);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    let all = path[..end].split('/').filter(|segment| !segment.is_empty());
    all.take(SEGMENTS_MAX)
        .map(|segment| if is_id(segment) { ID } else { segment })
}

fn is_id(segment: &str) -> bool {
    let (mut digits, mut other) = (0, false);
    for byte in segment.bytes() {
        digits += usize::from(byte.is_ascii_digit());
        other |= matches!(byte, b'%' | b'@');
    }
    let is_version = segment.starts_with('v') && digits + 1 == segment.len();
    let len = segment.len();
    other || digits > 0 && (digits * 3 >= len || len >= LONG) && !is_version
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_what_looks_like_an_id_and_keeps_words() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("/orders/42", "/orders/*"),
            ("/orders/42/", "/orders/*"),
            ("/orders//lines", "/orders/lines"),
            ("/orders/ab12/lines", "/orders/*/lines"),
            ("/v1/products", "/v1/products"),
            ("/oauth2/token", "/oauth2/token"),
            ("/u/0190f5c2-7f3a-7000-8000-0123456789ab", "/u/*"),
            ("/days/2026-11-29", "/days/*"),
            ("/users/a@b", "/users/*"),
            ("/users/me%40x", "/users/*"),
            ("/products/blue-shoes", "/products/blue-shoes"),
            (
                "/a-rather-long-word-without-numbers",
                "/a-rather-long-word-without-numbers",
            ),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h"),
        ] {
            assert_eq!(shape(path), expected, "{path}");
        }
    }

    #[test]
    fn paths_of_one_shape_have_one_hash_and_others_another() {
        assert_eq!(hash("/orders/17/lines"), hash("/orders/4a2b/lines"));
        let others = [
            "/",
            "/orders",
            "/orders/7",
            "/order/s",
            "/orders/lines",
            "/ordersx",
        ];
        for (at, one) in others.iter().enumerate() {
            for other in &others[at + 1..] {
                assert_ne!(hash(one), hash(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn however_long_a_path_is_it_is_cut_between_characters() {
        let path = format!("/{}é", "a/".repeat(127));
        assert_eq!(shape(&path), "/a/a/a/a/a/a/a/a");
        let path = format!("/{}éé", "a".repeat(254));
        assert_eq!(shape(&path), format!("/{}", "a".repeat(254)));
    }
}
