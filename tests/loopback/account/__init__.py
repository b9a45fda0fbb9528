"""A stateful stand-in for the part of AWS in which a knowledge base is created and removed.

    account = Account(polls=1, fails={"ingestion": "why"})
    with Service(first_of(account, script)) as service:
        account.endpoint = service.url

`together.together()` starts it beside moto's S3, IAM and STS.
"""

from tests.loopback.account.account import Account

__all__ = ["Account"]
