"""Secrets and account ids out of what a recording keeps."""

import re
from collections.abc import Iterable

ACCOUNT = "111122223333"  # the account number of AWS's own documentation examples

_PATTERNS = [
    (re.compile(r"(?<!\d\.)(?<![0-9A-Za-z])\d{12}(?![0-9A-Za-z])(?!\.\d)"), ACCOUNT),
    (re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{12,}\b"), "SCRUBBED-ID"),
    (re.compile(r"\b(?:ABSK|bedrock-api-key-)[A-Za-z0-9+/=_-]{20,}"), "SCRUBBED-TOKEN"),
    (re.compile(r"\b(?:IQoJ|FwoG|FQoG)[A-Za-z0-9+/=_-]{40,}"), "SCRUBBED-TOKEN"),  # STS session tokens
    (re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"\\]+"), r"\1SCRUBBED"),
    (re.compile(r"\b[a-z0-9]{20}(\.[a-z0-9-]+\.aoss\.amazonaws\.com)"), r"workshopcollection00\1"),
    (re.compile(r"\bip-\d+-\d+-\d+-\d+(?:\.[\w-]+)*\b"), "scrubbed-host"),  # private names of EC2 machines
]
_SECRET_FIELDS = re.compile(
    r'("(?:SecretAccessKey|SessionToken|AccessKeyId|Authorization|[a-zA-Z]*[pP]assword)":\s*)"[^"]*"'
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` (JSON) without account ids, keys, tokens and host names; `secrets` are removed word for word."""
    for secret in secrets:
        text = text.replace(secret, "SCRUBBED") if secret else text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return _SECRET_FIELDS.sub(r'\1"SCRUBBED"', text)
