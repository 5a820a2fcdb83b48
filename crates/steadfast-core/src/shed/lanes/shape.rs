//! What a path looks like without its ids: the route, as far as one can tell from outside.
//!
//! The gate stands outside the application's router, so all it knows of a route is the path. Of
//! its segments those are taken for parameters that have a digit, a `%` or an `@` in them or are
//! longer than names are: ids, dates, hashes, addresses. Words are not, so a route whose
//! parameter is a word is as many routes as there are words. Then evidence of each is thinner,
//! and the common limit has those of which there is too little.

/// Bytes of a path that are looked at.
const LEN_MAX: usize = 256;

/// Segments that are looked at: whatever lies below the sixth is one route.
const SEGMENTS_MAX: usize = 6;

/// Longest segment that is a name.
const NAME_MAX: usize = 32;

/// What stands for a parameter.
const PARAMETER: &str = "{}";

/// Returns the hash of a path's shape (FNV-1a, then mixed, so that all bits depend on all
/// bytes). Paths of one shape have one hash.
pub(super) fn hash(path: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    for segment in segments(path) {
        eat(b'/');
        segment.bytes().for_each(&mut eat);
    }
    hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}

/// Returns the shape of a path, for people.
pub(super) fn shown(path: &str) -> String {
    let shown: String = segments(path).flat_map(|segment| ["/", segment]).collect();
    match shown.is_empty() {
        true => "/".to_owned(),
        false => shown,
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut end = path.len().min(LEN_MAX);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    let all = path[..end].split('/').filter(|segment| !segment.is_empty());
    all.take(SEGMENTS_MAX).map(|segment| {
        if is_parameter(segment) {
            PARAMETER
        } else {
            segment
        }
    })
}

fn is_parameter(segment: &str) -> bool {
    let tells = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'%' | b'@');
    segment.len() > NAME_MAX || segment.bytes().any(tells)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ids_are_no_part_of_a_route_and_words_are() {
        let long = "a".repeat(33);
        let long = format!("/{long}/x");
        for (path, shape) in [
            ("/", "/"),
            ("", "/"),
            ("/orders/17", "/orders/{}"),
            ("/orders/17/", "/orders/{}"),
            ("/orders//lines", "/orders/lines"),
            ("/users/me%40x", "/users/{}"),
            ("/users/a@b", "/users/{}"),
            ("/products/blue-shoes", "/products/blue-shoes"),
            (&long, "/{}/x"),
            ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f"),
        ] {
            assert_eq!(shown(path), shape, "{path}");
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
        assert_eq!(shown(&path), "/a/a/a/a/a/a");
        let path = format!("/{}éé", "a".repeat(254));
        assert_eq!(shown(&path), "/{}");
    }
}
