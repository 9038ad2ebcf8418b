//! Owns globs over names: `*` is any text, also none, `?` is one character, everything else is itself.

/// Whether the whole of `name` fits `pattern`. Never tries more than their lengths multiplied, whatever the pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    // Behind the last star, and how much of the name that star has taken. An earlier star never needs to take
    // more: what lies between the two has been found as early as it can be.
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                star = Some((at, read));
            }
            Some(sign) if *sign == '?' || *sign == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((behind, taken)) = star else { return false };
                star = Some((behind, taken + 1));
                (at, read) = (behind, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|sign| *sign == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_fits_the_whole_name_or_not_at_all() {
        for (pattern, fitting, others) in [
            ("deploy", &["deploy"][..], &["deploy-", "Deploy", "redeploy", ""][..]),
            ("deploy-*", &["deploy-", "deploy-prod", "deploy-a/b"], &["deploy", "xdeploy-a", "deploy_a"]),
            ("*", &["", "a", "anything at all"], &[]),
            ("**", &["", "ab"], &[]),
            ("?", &["a", "ü", "*"], &["", "ab"]),
            ("*-prod", &["a-prod", "-prod", "a-prod-prod"], &["a-prod-x", "prod"]),
            ("a*b*c", &["abc", "axxbxxc", "abbcbc"], &["ab", "acb", "abcd"]),
            ("a?c", &["abc", "a?c"], &["ac", "abbc"]),
            ("*a?", &["ab", "xxab", "aaab"], &["a", "xxa"]),
            ("", &[""], &["a"]),
            // Nothing else is special.
            ("[ab]", &["[ab]"], &["a"]),
            ("a.c", &["a.c"], &["abc"]),
            ("{a,b}", &["{a,b}"], &["a"]),
            ("a%", &["a%"], &["ab"]),
            ("a\\*", &["a\\", "a\\x"], &["a*"]),
        ] {
            for name in fitting {
                assert!(matches(pattern, name), "{pattern} must fit {name}");
            }
            for name in others {
                assert!(!matches(pattern, name), "{pattern} must not fit {name}");
            }
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = format!("{}b", "*a".repeat(10_000));
        assert!(!matches(&pattern, &"a".repeat(5_000)));
    }
}
