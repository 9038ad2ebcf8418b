//! Owns what a part of an error line is by its looks: a time, an address, a path, a UUID, a key. It judges one word that was
//! cut out already, and never looks around.

/// Months as dates write them.
pub(super) const MONTHS: [&str; 23] = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
    "January",
    "February",
    "March",
    "April",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Ends of file names.
const EXTENSIONS: [&str; 66] = [
    "c", "h", "cc", "cpp", "hpp", "rs", "py", "js", "ts", "jsx", "tsx", "mjs", "cjs", "go", "java", "kt",
    "rb", "php", "sh", "bash", "sql", "json", "yml", "yaml", "toml", "xml", "html", "css", "txt", "log",
    "csv", "tsv", "conf", "cfg", "ini", "lock", "md", "pdf", "png", "jpg", "gz", "tar", "tgz", "zip", "bz2",
    "xz", "zst", "so", "dll", "exe", "o", "pl", "pm", "lua", "cs", "swift", "scala", "vue", "tf", "tfvars",
    "pem", "crt", "db", "sqlite", "jar", "service",
];

/// How many digits a text begins with.
pub(super) fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// What follows a number of so many digits.
fn number(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<&str> {
    let count = digits(text);
    lengths.contains(&count).then(|| &text[count..])
}

/// What follows a time of day.
fn clock(text: &str) -> Option<&str> {
    let rest = number(text, 1..=2)?.strip_prefix(':')?;
    let rest = number(rest, 2..=2)?.strip_prefix(':')?;
    let rest = number(rest, 2..=2)?;
    Some(rest.strip_prefix('.').and_then(|fraction| number(fraction, 1..=9)).unwrap_or(rest))
}

/// What follows a date.
fn date(text: &str) -> Option<&str> {
    let (rest, is_year_first) = match digits(text) {
        4 => (&text[4..], true),
        1 | 2 => (&text[digits(text)..], false),
        _ => return None,
    };
    let separator = rest.chars().next().filter(|c| matches!(c, '-' | '/' | '.'))?;
    let rest = &rest[1..];
    let middle = MONTHS.iter().find_map(|month| rest.strip_prefix(month)).or_else(|| number(rest, 1..=2))?;
    let rest = middle.strip_prefix(separator)?;
    number(rest, if is_year_first { 1..=2 } else { 4..=4 })
}

/// A date, a time of day, or both.
pub(super) fn is_time(text: &str) -> bool {
    let is_zone = |rest: &str| {
        let offset = rest.strip_prefix(['+', '-']).map(|offset| offset.replace(':', ""));
        rest.is_empty()
            || rest == "Z"
            || offset.is_some_and(|offset| matches!(offset.len(), 2 | 4) && digits(&offset) == offset.len())
    };
    if let Some(rest) = date(text) {
        return rest.is_empty()
            || rest.strip_prefix(['T', ':', '_', '-']).and_then(clock).is_some_and(is_zone);
    }
    clock(text).is_some_and(is_zone)
}

/// An address of the internet, with or without a port or the length of a net.
pub(super) fn is_address(text: &str) -> bool {
    let mut rest = text;
    let mut parts = 0;
    while let Some(left) = number(rest, 1..=3) {
        parts += 1;
        rest = left;
        match left.strip_prefix('.') {
            Some(next) if parts < 4 => rest = next,
            _ => break,
        }
    }
    if parts == 4 {
        let port = rest.strip_prefix([':', '/']);
        return rest.is_empty() || port.is_some_and(|port| digits(port) == port.len());
    }
    let colons = text.bytes().filter(|byte| *byte == b':').count();
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    is_hex
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && (colons == 7 || colons >= 2 && text.contains("::"))
}

/// A path with a drive's letter or a share's name.
pub(super) fn is_windows_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.starts_with("\\\\")
        || bytes.len() > 2
            && bytes[0].is_ascii_alphabetic()
            && bytes[1] == b':'
            && matches!(bytes[2], b'\\' | b'/')
}

/// Without the line and column behind a file's name.
pub(super) fn without_place(text: &str) -> &str {
    let mut text = text;
    for _ in 0..2 {
        if let Some((head, place)) = text.rsplit_once(':')
            && !place.is_empty()
            && digits(place) == place.len()
        {
            text = head;
        }
    }
    text
}

/// A path or the name of a file.
pub(super) fn is_path(text: &str) -> bool {
    if text.contains(':') {
        return false;
    }
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '@' | '$' | '*');
    if let Some(rest) = ["/", "./", "../", "~/"].iter().find_map(|root| text.strip_prefix(root)) {
        return rest.starts_with(is_name);
    }
    let slashes = text.bytes().filter(|byte| *byte == b'/').count();
    let last = text.rsplit('/').next().unwrap_or(text);
    let has_extension = last.rsplit_once('.').is_some_and(|(stem, extension)| {
        !stem.is_empty()
            && EXTENSIONS.contains(&extension)
            && stem.bytes().all(|byte| byte.is_ascii_graphic())
    });
    has_extension || (slashes >= 2 && text.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Long and of all kinds of characters: a key, a token, a digest.
pub(super) fn is_scrambled(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.bytes().filter(is).count();
    text.len() >= 24
        && !text.starts_with(['/', '.', '~'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-' | b'.'))
        && !text.contains("..")
        && has(u8::is_ascii_digit) >= 3
        && has(u8::is_ascii_uppercase) >= 3
        && has(u8::is_ascii_lowercase) >= 3
}

/// At least so many hexadecimal digits, letters and digits among them.
pub(super) fn is_hex(text: &str, length: usize) -> bool {
    text.len() >= length
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Bytes of a UUID as it is written.
pub(super) const UUID_BYTES: usize = 36;

/// Whether a text begins with a UUID.
pub(super) fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() >= UUID_BYTES
        && bytes[..UUID_BYTES].iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
        && bytes.get(UUID_BYTES).is_none_or(|next| !next.is_ascii_alphanumeric())
}
