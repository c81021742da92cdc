//! Finds the key that was probably meant.

/// Returns the key in `known` that is nearest to `given`, if it is near enough.
///
/// At most a third of the letters, and no more than three, may differ. Case, `_` and `-` are
/// ignored.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = bare(given);
    let most = (given.chars().count() / 3).min(3);
    known
        .map(|key| (strsim::osa_distance(&given, &bare(key)), key))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, key)| key)
}

fn bare(key: &str) -> String {
    key.to_lowercase().replace(['_', '-'], "")
}
