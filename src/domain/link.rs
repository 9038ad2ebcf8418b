//! Owns the link that opens the dashboard with a token in it. The token stands behind the `#`, which no browser sends to
//! anybody; the link as a whole is as secret as the token, and must never be logged.

use std::fmt::Write as _;

/// The dashboard of the daemon at `url`, opened as whoever holds this token.
pub fn with_token(url: &str, secret: &str) -> String {
    let mut link = format!("{url}/#token=");
    for byte in secret.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            link.push(char::from(byte));
        } else {
            let _ = write!(link, "%{byte:02X}");
        }
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_token_is_made_of_stays_in_the_fragment() {
        assert_eq!(with_token("http://127.0.0.1:1", "a1-b"), "http://127.0.0.1:1/#token=a1-b");
        assert_eq!(with_token("http://[::1]:1", "a&b=c#+é"), "http://[::1]:1/#token=a%26b%3Dc%23%2B%C3%A9");
    }
}
