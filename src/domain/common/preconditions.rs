//! Preconditions of a request (RFC 9110 §13): which versions of an object it may read or change.

/// The content of an entity tag (RFC 9110 §8.8.3) without its quotes: a version such as `3`, a
/// version with a digest of the representation such as `3-9f86d081`, or a digest alone.
///
/// A weak tag has the content of the strong one. Intermediaries that compress responses weaken
/// their tags, so `If-Match` compares `W/"3"` as `"3"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    pub fn new(version: Option<i64>, digest: &str) -> Self {
        Self(version.map_or_else(|| digest.to_owned(), |version| format!("{version}-{digest}")))
    }

    /// Parses a strong tag, as a response contains it.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix('"')?.strip_suffix('"').map(|content| Self(content.to_owned()))
    }

    /// The version in the tag, which is the part before the digest.
    fn version(&self) -> Option<i64> {
        let version = self.0.split_once('-').map_or(self.0.as_str(), |(version, _)| version);
        let is_number = version.len() <= 18 && version.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { version.parse().ok() } else { None }
    }
}

impl std::fmt::Display for EntityTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagList {
    /// `*`: every representation.
    Any,
    Tags(Vec<EntityTag>),
}

/// A field value that is neither `*` nor a list of entity tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be * or a list of entity tags in quotes, such as \"3\"")]
pub struct MalformedTagList;

impl TagList {
    /// Parses the lines of a field, which are one list (RFC 9110 §5.3). Returns `None` if there are
    /// none.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Self>, MalformedTagList> {
        let lines: Vec<_> = lines.into_iter().collect();
        match lines.as_slice() {
            [] => Ok(None),
            [line] if line.trim_ascii() == b"*" => Ok(Some(Self::Any)),
            lines => {
                let mut tags = Vec::new();
                for line in lines {
                    parse_line(line, &mut tags)?;
                }
                Ok(Some(Self::Tags(tags)))
            }
        }
    }

    /// Whether the list contains the version of a stored object. An object without a version has no
    /// tag.
    fn contains_version(&self, version: Option<i64>) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => version.is_some() && tags.iter().any(|tag| tag.version() == version),
        }
    }

    /// Whether the list contains this tag of a representation. `None` for a representation without
    /// one.
    fn contains_tag(&self, tag: Option<&EntityTag>) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tag.is_some_and(|tag| tags.contains(tag)),
        }
    }
}

/// Parses the tags of a line. Empty elements are ignored (RFC 9110 §5.6.1.2), and a tag may contain
/// a comma.
fn parse_line(line: &[u8], tags: &mut Vec<EntityTag>) -> Result<(), MalformedTagList> {
    let is_separator = |byte: &u8| *byte == b',' || *byte == b' ' || *byte == b'\t';
    let mut rest = line;
    loop {
        let start = rest.iter().position(|byte| !is_separator(byte)).unwrap_or(rest.len());
        let (separator, tag) = rest.split_at(start);
        if tag.is_empty() {
            return Ok(());
        }
        // Two tags have a comma between them.
        if rest.len() != line.len() && !separator.contains(&b',') {
            return Err(MalformedTagList);
        }
        let content = tag.strip_prefix(b"W/").unwrap_or(tag).strip_prefix(b"\"").ok_or(MalformedTagList)?;
        let end = content.iter().position(|byte| *byte == b'"').ok_or(MalformedTagList)?;
        let (content, after) = content.split_at(end);
        // RFC 9110 §8.8.3: visible characters, and bytes that are not ASCII.
        if content.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return Err(MalformedTagList);
        }
        tags.push(EntityTag(String::from_utf8_lossy(content).into_owned()));
        rest = &after[1..];
    }
}

/// What is stored under the path of a request that changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredObject {
    Absent,
    Unversioned,
    Version(i64),
}

/// Why a precondition is false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FailedPrecondition {
    #[error("If-Match does not name the newest version, which is {0}: read the object again and repeat the request")]
    OtherVersion(i64),
    #[error("If-Match requires an existing object, and there is none: omit it to create the object")]
    Absent,
    #[error("If-Match names a version, and the object has none: send If-Match: *, or omit it")]
    Unversioned,
    #[error("If-Match does not name the current representation: read it again")]
    OtherRepresentation,
    #[error("If-None-Match excludes an existing object, and there is one: read it, or omit If-None-Match to change it")]
    Exists,
}

/// The preconditions of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    pub if_match: Option<TagList>,
    pub if_none_match: Option<TagList>,
}

/// How a request that reads a representation continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    Proceed,
    /// The client has this representation already.
    NotModified,
}

impl Preconditions {
    /// Evaluates the preconditions of a change in the order of RFC 9110 §13.2.2. Call it with what
    /// is stored after it is locked, so that no other change comes between.
    pub fn check(&self, stored: StoredObject) -> Result<(), FailedPrecondition> {
        let version = match stored {
            StoredObject::Absent => {
                return if self.if_match.is_some() { Err(FailedPrecondition::Absent) } else { Ok(()) };
            }
            StoredObject::Unversioned => None,
            StoredObject::Version(version) => Some(version),
        };
        if self.if_match.as_ref().is_some_and(|list| !list.contains_version(version)) {
            return Err(version.map_or(FailedPrecondition::Unversioned, FailedPrecondition::OtherVersion));
        }
        if self.if_none_match.as_ref().is_some_and(|list| list.contains_version(version)) {
            return Err(FailedPrecondition::Exists);
        }
        Ok(())
    }

    /// Evaluates the preconditions of a request that reads a representation with this tag.
    /// `If-Match` is about its version, if it has one, and `If-None-Match` about the whole of it.
    pub fn check_read(&self, tag: Option<&EntityTag>) -> Result<ReadOutcome, FailedPrecondition> {
        let version = tag.and_then(EntityTag::version);
        if self.if_match.as_ref().is_some_and(|list| !list.contains_tag(tag) && !list.contains_version(version)) {
            return Err(FailedPrecondition::OtherRepresentation);
        }
        let is_known = self.if_none_match.as_ref().is_some_and(|list| list.contains_tag(tag));
        Ok(if is_known { ReadOutcome::NotModified } else { ReadOutcome::Proceed })
    }
}

impl From<Option<i64>> for StoredObject {
    fn from(version: Option<i64>) -> Self {
        version.map_or(Self::Absent, Self::Version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<Option<TagList>, MalformedTagList> {
        TagList::parse(lines.iter().map(|line| line.as_bytes()))
    }

    fn tags(contents: &[&str]) -> TagList {
        TagList::Tags(contents.iter().map(|content| EntityTag((*content).to_owned())).collect())
    }

    #[test]
    fn lines_are_one_list() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[" * "]), Ok(Some(TagList::Any)));
        for (lines, contents) in [
            (&["\"3\""][..], &["3"][..]),
            (&["W/\"3\""], &["3"]),
            (&["\"3\",\"4\"\t, W/\"5\""], &["3", "4", "5"]),
            (&["\"3\"", " \"4\""], &["3", "4"]),
            (&[", ,\"3\",,"], &["3"]),
            (&["\"a,b\", \"\""], &["a,b", ""]),
            (&["\"ä\""], &["ä"]),
            (&[""], &[]),
            (&[" ,\t"], &[]),
        ] {
            assert_eq!(parse(lines), Ok(Some(tags(contents))), "{lines:?}");
        }
        for line in
            ["3", "\"3", "3\"", "w/\"3\"", "W/3", "W/ \"3\"", "\"3\" \"4\"", "\"3\"\"4\"", "*, \"3\"", "\"3\", *", "**"]
        {
            assert_eq!(parse(&[line]), Err(MalformedTagList), "{line}");
        }
        for line in ["\"a b\"", "\"a\tb\"", "\"a\u{7f}\""] {
            assert_eq!(parse(&[line]), Err(MalformedTagList), "{line:?}");
        }
        assert_eq!(parse(&["*", "*"]), Err(MalformedTagList));
    }

    #[test]
    fn version_precedes_the_digest() {
        for (content, version) in [
            ("3", Some(3)),
            ("3-6f1e", Some(3)),
            ("0", Some(0)),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("9999999999999999999", None),
            ("6f1e", None),
            ("-3", None),
            ("+3", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(EntityTag(content.to_owned()).version(), version, "{content}");
        }
    }

    #[test]
    fn match_precedes_none_match() {
        let conditions = |if_match: &str, if_none_match: &str| Preconditions {
            if_match: parse(&[if_match]).unwrap(),
            if_none_match: parse(&[if_none_match]).unwrap(),
        };
        let both = conditions("\"2\"", "\"3\"");
        assert_eq!(both.check(StoredObject::Version(3)), Err(FailedPrecondition::OtherVersion(3)));
        assert_eq!(both.check(StoredObject::Version(2)), Ok(()));
        assert_eq!(both.check(StoredObject::Absent), Err(FailedPrecondition::Absent));
        assert_eq!(both.check(StoredObject::Unversioned), Err(FailedPrecondition::Unversioned));
        assert_eq!(conditions("*", "*").check(StoredObject::Version(3)), Err(FailedPrecondition::Exists));
        let tag = EntityTag::parse("\"3-6f1e\"");
        assert_eq!(both.check_read(tag.as_ref()), Err(FailedPrecondition::OtherRepresentation));
        assert_eq!(conditions("\"3\"", "\"3\"").check_read(tag.as_ref()), Ok(ReadOutcome::Proceed));
        assert_eq!(conditions("\"3\"", "\"3-6f1e\"").check_read(tag.as_ref()), Ok(ReadOutcome::NotModified));
        assert_eq!(conditions("*", "*").check_read(None), Ok(ReadOutcome::NotModified));
    }
}
