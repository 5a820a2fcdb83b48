//! The weight of a range in `Accept` and `Accept-Language` (RFC 9110, 12.4.2).

/// Returns the weight in thousandths, if this parameter of a range is one.
pub(crate) fn weight(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let quality: f32 = value.trim().parse().ok()?;
    // The cast saturates, and NaN becomes 0.
    Some((quality.clamp(0.0, 1.0) * 1000.0) as u32)
}
