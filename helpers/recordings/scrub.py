"""Secrets and account ids out of what a recording keeps."""

import re
from collections.abc import Iterable

ACCOUNT = "111122223333"  # the account number of AWS's own documentation examples

# What to look for, its replacement, and marks without which it cannot be there: prompts are long, `in` is quick.
_PATTERNS: list[tuple[str, str, tuple[str, ...]]] = [
    (
        r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{12,}\b",
        "SCRUBBED-ID",
        ("KIA", "SIA", "ROA", "IDA", "BIA", "CCA"),
    ),
    (r"\b(?:ABSK|bedrock-api-key-)[A-Za-z0-9+/=_-]{20,}", "SCRUBBED-TOKEN", ("ABSK", "bedrock-api-key")),
    (r"\b(?:IQoJ|FwoG|FQoG)[A-Za-z0-9+/=_-]{40,}", "SCRUBBED-TOKEN", ("IQoJ", "FwoG", "FQoG")),  # STS tokens
    (r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"\\]+", r"\1SCRUBBED", ("X-Amz-",)),
    (r"\b[a-z0-9]{20}(\.[a-z0-9-]+\.aoss\.amazonaws\.com)", r"workshopcollection00\1", (".aoss.",)),
    (r"\bip-\d+-\d+-\d+-\d+(?:\.[\w-]+)*\b", "scrubbed-host", ("ip-",)),  # private names of EC2 machines
    (
        r'("(?:SecretAccessKey|SessionToken|AccessKeyId|Authorization|[a-zA-Z]*[pP]assword)":\s*)"[^"]*"',
        r'\1"SCRUBBED"',
        ("AccessKey", "SessionToken", "Authorization", "assword"),
    ),
]
_RULES = [(re.compile(pattern), replacement, marks) for pattern, replacement, marks in _PATTERNS]
_TWELVE_DIGITS = re.compile(r"\d{12}")
_ACCOUNT_ID = re.compile(r"(?<!\d\.)(?<![0-9A-Za-z])\d{12}(?![0-9A-Za-z])(?!\.\d)")


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` (JSON) without account ids, keys, tokens and host names; `secrets` are removed word for word."""
    for secret in secrets:
        text = text.replace(secret, "SCRUBBED") if secret else text
    if _TWELVE_DIGITS.search(text):
        text = _ACCOUNT_ID.sub(ACCOUNT, text)
    for pattern, replacement, marks in _RULES:
        if any(mark in text for mark in marks):
            text = pattern.sub(replacement, text)
    return text
