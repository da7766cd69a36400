//! Lines of strace and of `trace_calls` in one notation, in which they can be compared.

use std::collections::HashMap;

/// A system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub tid: u32,
    pub name: String,
    pub arguments: Vec<String>,
    /// What the call has changed.
    pub changed: Vec<String>,
    pub result: String,
}

/// The calls in the output of `strace -f`. Those that did not return have no result.
pub fn of_strace(output: &str) -> Vec<Call> {
    let mut unfinished: HashMap<u32, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in output.lines() {
        let Some((tid, rest)) = line.trim_start().split_once(' ') else { continue };
        let (Ok(tid), rest) = (tid.parse(), rest.trim_start()) else { continue };
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(tid, begin.trim_end().to_owned());
            continue;
        }
        let whole = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                let begin = unfinished.remove(&tid).unwrap_or_default();
                let separator = if begin.ends_with(',') { " " } else { "" };
                format!("{begin}{separator}{}", end.trim_start_matches(' '))
            }
            None => rest.to_owned(),
        };
        calls.extend(strace_call(tid, &whole));
    }
    calls
}

fn strace_call(tid: u32, line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let end = closing(rest)?;
    let (arguments, rest) = rest.split_at(end);
    let result = rest[1..].trim_start().strip_prefix('=')?.trim();
    let arguments = without_comments(arguments);
    let mut changed = Vec::new();
    let arguments = split(&arguments, ',').into_iter().map(|argument| {
        let (before, after) =
            argument.split_once(" => ").map_or((argument.as_str(), None), |(a, b)| (a, Some(b)));
        changed.extend(after.map(value));
        value(before)
    });
    let arguments = arguments.collect();
    let (result, comment) = match split_once_outside(result, " (") {
        Some((result, comment)) => (result, Some(comment.trim_end_matches(')'))),
        None => (result, None),
    };
    // Other calls have their result explained there.
    if let Some(comment) = comment.filter(|_| ["poll", "ppoll", "select", "pselect6"].contains(&name)) {
        let parts = split(comment, ',');
        let shown = parts.iter().filter(|part| !part.starts_with("in ") && !part.starts_with("out "));
        let shown = shown.filter(|part| *part != "Timeout");
        changed.extend(shown.map(|part| value(part.strip_prefix("left ").unwrap_or(part))));
    }
    let result = match result.strip_prefix('?') {
        Some("") => String::new(),
        Some(error) => format!("-1{error}"),
        None => value(result),
    };
    Some(Call { tid, name: name.to_owned(), arguments, changed, result })
}

/// The calls in the text of `trace_calls`.
pub fn of_hook<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Call> {
    lines.into_iter().filter_map(hook_call).collect()
}

fn hook_call(line: &str) -> Option<Call> {
    let (task, rest) = line.split_once('[')?;
    let tid = task.trim().rsplit_once('-')?.1.parse().ok()?;
    let (_, rest) = rest.split_once(": ")?;
    let (name, rest) = rest.split_once(':')?;
    let mut call = Call {
        tid,
        name: name.to_owned(),
        arguments: Vec::new(),
        changed: Vec::new(),
        result: String::new(),
    };
    for field in split(rest.trim(), ' ') {
        match field.split_once('=') {
            Some(("result", result)) => call.result = value(result),
            Some(("error", error)) => call.result = format!("-1 {error}"),
            Some(("duration", _)) => {}
            Some((name, changed)) if name.ends_with("_after") => call.changed.push(value(changed)),
            // strace shows its address, with the number in a comment.
            Some(("envp_count", _)) => call.arguments.push("environment".to_owned()),
            Some(("argv_count", _)) => {}
            Some((_, argument)) => call.arguments.push(value(argument)),
            None => {}
        }
    }
    Some(call)
}

/// Where the bracket is closed that is open at the beginning.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    outside_quotes(text).find_map(|(at, letter)| {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => return Some(at),
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        None
    })
}

/// The letters that are in no string, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.char_indices().filter(move |(_, letter)| {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => return !is_quoted,
        }
        false
    })
}

/// The parts of a text between separators that are in no string and no bracket.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut begin, mut depth, mut previous) = (Vec::new(), 0, 0i32, ' ');
    for (at, letter) in outside_quotes(text) {
        match letter {
            '(' | '[' | '{' | '<' if previous != '<' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '>' if previous != '-' && previous != '=' => depth -= 1,
            _ if letter == separator && depth == 0 => {
                parts.push(text[begin..at].trim().to_owned());
                begin = at + 1;
            }
            _ => {}
        }
        previous = letter;
    }
    parts.push(text[begin..].trim().to_owned());
    parts.retain(|part| !part.is_empty());
    parts
}

fn split_once_outside<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    let found = outside_quotes(text).map(|(at, _)| at).find(|at| text[*at..].starts_with(separator))?;
    Some((&text[..found], &text[found + separator.len()..]))
}

/// Without `/* … */`; what strace shows for the environment becomes one word.
fn without_comments(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some((before, after)) = split_once_outside(rest, "/*") {
        let (comment, after) = after.split_once("*/").unwrap_or((after, ""));
        if comment.trim_end().ends_with("vars") || comment.trim_end().ends_with("var") {
            let start = before.rfind(", ").map_or(0, |at| at + 2);
            out.push_str(&before[..start]);
            out.push_str("environment");
        } else {
            out.push_str(before.trim_end());
        }
        rest = after;
    }
    out + rest
}

/// A value in the common notation.
fn value(text: &str) -> String {
    let text = text.trim();
    if let Some(data) = text.strip_prefix("{u32=") {
        return data.split_once("u64=").map_or("", |(_, data)| data.trim_end_matches('}')).to_owned();
    }
    if let Some((first, rest)) = bracketed(text) {
        let inner = &text[1..text.len() - 1];
        let inner = match rest {
            // strace separates the members of sets by blanks.
            ']' if !inner.contains(", ") && !inner.contains(['"', '{']) => split(inner, ' ').join(", "),
            _ => inner.to_owned(),
        };
        let parts: Vec<String> = split(&inner, ',').iter().map(|part| member(part)).collect();
        return format!("{first}{}{rest}", parts.join(", "));
    }
    if text.starts_with('"') {
        return string(text);
    }
    if let Some((number, is)) = text.split_once('<')
        && let Some(is) = is.strip_suffix('>')
    {
        return format!("{}<{}>", scalar(number), what(is));
    }
    if let Some((number, "(deleted)")) = text.rsplit_once('>').map(|(a, b)| (a, b.trim()))
        && let Some((number, is)) = number.split_once('<')
    {
        return format!("{}<{}>", scalar(number), what(&format!("{is} (deleted)")));
    }
    scalar(text)
}

fn bracketed(text: &str) -> Option<(&str, char)> {
    let first = text.get(..1)?;
    let last = text.chars().last()?;
    let is_pair = matches!((first, last), ("[", ']') | ("{", '}'));
    (is_pair && text.len() > 1).then_some((first, last))
}

/// A part of a structure or an array.
fn member(text: &str) -> String {
    if let Some(address) = text.strip_prefix("inet_pton(AF_INET6, ") {
        return format!("sin6_addr={}", address.split(',').next().unwrap_or_default());
    }
    match split_once_outside(text, "=") {
        Some((name, rest)) if name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') => {
            format!("{name}={}", value(rest))
        }
        _ => value(text),
    }
}

fn what(text: &str) -> String {
    match text.split_once('<') {
        Some((path, device)) => format!("{} ({})", path, device.trim_end_matches('>')),
        None => text.to_owned(),
    }
}

fn scalar(text: &str) -> String {
    for wrapper in ["htons(", "htonl(", "inet_addr("] {
        if let Some(inner) = text.strip_prefix(wrapper).and_then(|rest| rest.strip_suffix(')')) {
            return value(inner);
        }
    }
    if let Some(signals) = text.strip_prefix('~') {
        return format!("~{}", value(signals));
    }
    // An address whose memory cannot be read.
    let text = text.strip_suffix('?').unwrap_or(text);
    if text == "NULL" {
        return "0".to_owned();
    }
    if let Some(number) = text.strip_prefix('0').and_then(|octal| u64::from_str_radix(octal, 8).ok()) {
        return number.to_string();
    }
    if let Some((one, two)) = text.split_once('*')
        && let (Ok(one), Ok(two)) = (one.parse::<u64>(), two.parse::<u64>())
    {
        return (one * two).to_string();
    }
    if let Some(number) = text.strip_prefix("0x").and_then(|number| u64::from_str_radix(number, 16).ok()) {
        return number.to_string();
    }
    let mut flags: Vec<String> =
        text.split('|').filter(|flag| *flag != "FUTEX_PRIVATE_FLAG").map(flag).collect();
    flags.sort_unstable();
    flags.join("|")
}

fn flag(text: &str) -> String {
    match text {
        octal if octal.starts_with('0') && octal.len() > 1 => scalar(octal),
        _ => text.strip_suffix("_PRIVATE").unwrap_or(text).to_owned(),
    }
}

/// A quoted text with one form of escapes, and what follows it.
fn string(text: &str) -> String {
    let Some(end) = quote_end(text) else { return text.to_owned() };
    let (inner, rest) = (&text[1..end], &text[end + 1..]);
    let shown: String = bytes(inner)
        .into_iter()
        .map(|byte| match byte {
            b' '..=b'~' if byte != b'"' && byte != b'\\' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    format!("\"{shown}\"{rest}")
}

fn quote_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().skip(1).find_map(|(at, letter)| {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at),
            _ => {}
        }
        None
    })
}

/// The bytes of a text with escapes of C or of Rust.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        if letter != '\\' {
            out.extend_from_slice(&rest.as_bytes()[..letter.len_utf8()]);
            rest = after;
            continue;
        }
        let kind = after.chars().next().unwrap_or('\\');
        let tail = &after[kind.len_utf8()..];
        let named = [('n', 10), ('t', 9), ('r', 13), ('v', 11), ('f', 12)];
        if let Some((_, byte)) = named.iter().find(|(name, _)| *name == kind) {
            out.push(*byte);
            rest = tail;
        } else if let Some((hexadecimal, tail)) =
            tail.strip_prefix('{').filter(|_| kind == 'u').and_then(|tail| tail.split_once('}'))
        {
            let letter = u32::from_str_radix(hexadecimal, 16).ok().and_then(char::from_u32).unwrap_or('?');
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            rest = tail;
        } else if kind == 'x' && tail.len() >= 2 {
            out.push(u8::from_str_radix(&tail[..2], 16).unwrap_or(b'?'));
            rest = &tail[2..];
        } else if kind.is_digit(8) {
            let digits = after.bytes().take(3).take_while(|byte| (b'0'..b'8').contains(byte)).count();
            out.push(u32::from_str_radix(&after[..digits], 8).unwrap_or(63) as u8);
            rest = &after[digits..];
        } else {
            out.extend_from_slice(kind.encode_utf8(&mut [0; 4]).as_bytes());
            rest = tail;
        }
    }
    out
}
