//! Prevents Kubernetes from expanding `$(X)`.

/// Returns `text` escaped so that the kubelet passes exactly `text` to the container.
///
/// The kubelet expands `$(NAME)` in a container's command, args and env values, and reads `$$` as
/// `$`
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>;
/// `third_party/forked/golang/expansion`). Docker and a local process do neither, and a job must
/// mean the same on every runner. Each `$` that the kubelet would treat as an operator is therefore
/// doubled: before `$` or `(`, and before a non-ASCII character, which the kubelet's scanner would
/// split, as it reads single bytes. Every other `$` stays as it is, so that the Pod is easier to
/// read.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        let read = |next: &char| matches!(next, '$' | '(') || !next.is_ascii();
        if c == '$' && rest.peek().is_some_and(read) {
            out.push('$');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does what the kubelet does if every variable has the value `!`: after the `$`, `$` gives
    /// `$`, `(…)` gives the value, and any other *byte* gives itself as a character.
    fn kubelet(text: &str) -> String {
        let bytes = text.as_bytes();
        let (mut out, mut i) = (Vec::new(), 0);
        while i < bytes.len() {
            if bytes[i] != b'$' || i + 1 == bytes.len() {
                out.push(bytes[i]);
                i += 1;
                continue;
            }
            let after = &bytes[i + 1..];
            let (read, used): (Vec<u8>, usize) = match after[0] {
                b'$' => (b"$".to_vec(), 1),
                b'(' => match after.iter().position(|b| *b == b')') {
                    Some(end) => (b"!".to_vec(), end + 1),
                    None => (b"$(".to_vec(), 1),
                },
                other => (format!("${}", char::from(other)).into_bytes(), 1),
            };
            out.extend(read);
            i += 1 + used;
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn dollars_reach_the_container_as_they_were_given() {
        for text in [
            "$(HOME)",
            "$$(HOME)",
            "$$$(HOME)",
            "echo $$",
            "a$",
            "a$$",
            "$",
            "$(",
            "$()",
            "$é",
            "$HOME",
            "${HOME}",
            "a$(b$(c))",
            "100$ (net)",
            "$$é",
            "",
            "$$$$",
        ] {
            assert_eq!(kubelet(&literal(text)), text, "{text:?} as {:?}", literal(text));
        }
    }

    #[test]
    fn what_kubernetes_leaves_alone_is_not_changed() {
        assert_eq!(literal("echo $HOME ${X} 5$"), "echo $HOME ${X} 5$");
    }
}
