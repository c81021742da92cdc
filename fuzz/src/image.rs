//! Image references.

use longshore_core::ImageRef;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The parts of a reference: registry, repository, tag and digest.
type Parts<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>);

/// Text that is an image reference keeps its meaning in every other form. The second line, if any,
/// is a prefix.
pub fn image_ref(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, prefix) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(image) = text.parse::<ImageRef>() else { return };
    assert_eq!(image.to_string(), text);
    let canonical: ImageRef = image.canonical().parse().expect("the full form is a reference");
    assert_eq!(parts(&canonical), parts(&image), "{text}");
    let json = serde_json::to_string(&image).expect("it is text");
    assert_eq!(serde_json::from_str::<ImageRef>(&json).ok().as_ref(), Some(&image));
    let pinned = image.pinned(DIGEST).expect("it only gets a digest");
    assert_eq!(parts(&pinned), (image.registry(), image.repository(), None, Some(DIGEST)));
    assert!(image.is_mutable() == image.digest().is_none() && !pinned.is_mutable());
    if let Ok(prefixed) = image.with_prefix(prefix) {
        // A prefix is added once.
        if prefixed.names_registry() {
            assert_eq!(prefixed.with_prefix(prefix).as_ref(), Ok(&prefixed));
        }
    }
}

fn parts(image: &ImageRef) -> Parts<'_> {
    (image.registry(), image.repository(), image.tag(), image.digest())
}
