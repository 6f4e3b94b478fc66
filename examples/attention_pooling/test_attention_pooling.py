"""The method keeps the contract of methods."""

from harness.api import check_method


def test_the_contract_is_kept() -> None:
    assert [check for check in check_method("attention_pooling") if not check.ok] == []
