#!/bin/sh
# Extracts the observables of input/message.eml into output/report.json: URLs,
# IPv4 addresses, e-mail addresses and SHA-256 digests, of the message and of its
# base64 attachments, and the digests of those files themselves.
#
# Uses only what both busybox and a plain host have, so that the report is the
# same to the byte wherever it is made: the order is the C locale's, and no time,
# path or host name goes in.
set -eu
export LC_ALL=C

input="$LONGSHORE_JOB_DIR/input"
output="$LONGSHORE_JOB_DIR/output"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

message="$input/message.eml"

# The base64 parts, decoded: part 1 in attachment.1 and so on, its name in name.1.
awk -v work="$work" '
    { sub(/\r$/, "") }
    /^--/ && !/^-- $/ { encoded = 0; body = 0; name = ""; next }
    !body && tolower($0) ~ /^content-transfer-encoding:[ \t]*base64/ { encoded = 1 }
    !body && match($0, /filename="[^"]*"/) { name = substr($0, RSTART + 10, RLENGTH - 11) }
    !body && $0 == "" {
        body = 1
        if (encoded) { part++; print name > (work "/name." part) }
        next
    }
    body && encoded && $0 != "" { print > (work "/encoded." part) }
' "$message"

text="$work/text"
cp "$message" "$text"
part=1
while [ -f "$work/encoded.$part" ]; do
    base64 -d "$work/encoded.$part" > "$work/attachment.$part"
    cat "$work/attachment.$part" >> "$text"
    part=$((part + 1))
done

# One item a line on standard input, as the lines of a JSON array.
json_lines() {
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' | awk '
        { printf "%s    \"%s\"", (NR > 1 ? ",\n" : ""), $0 }
        END { if (NR) print "" }
    '
}

section() {
    printf '  "%s": [\n' "$1"
    sort -u | json_lines
    printf '  ],\n'
}

urls() {
    grep -oE 'https?://[^][ "<>,]+' "$text" | sed -e 's/[.;:)]*$//' || true
}

# Four numbers of at most 255, not part of a longer dotted number.
addresses() {
    grep -oE '[0-9]+(\.[0-9]+)+' "$text" | awk -F. '
        NF == 4 && $1 <= 255 && $2 <= 255 && $3 <= 255 && $4 <= 255
    ' || true
}

mails() {
    grep -oE '[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+' "$text" || true
}

digests() {
    grep -oE '[0-9A-Fa-f]+' "$text" | awk 'length($0) == 64' | tr 'A-F' 'a-f' || true
}

digest_of() {
    sha256sum < "$1" | awk '{ print $1 }'
}

files() {
    printf '  "files": [\n'
    printf '    {"name": "message.eml", "sha256": "%s"}' "$(digest_of "$message")"
    part=1
    while [ -f "$work/attachment.$part" ]; do
        name=$(sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' "$work/name.$part")
        printf ',\n    {"name": "%s", "sha256": "%s"}' "$name" "$(digest_of "$work/attachment.$part")"
        part=$((part + 1))
    done
    printf '\n  ]\n'
}

{
    printf '{\n'
    urls | section url
    addresses | section ip
    mails | section mail
    digests | section sha256
    files
    printf '}\n'
} > "$output/report.json"

cat "$output/report.json"
