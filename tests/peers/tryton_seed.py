"""Fills a Tryton database, run by the peer's own Python: `tryton_seed.py CONFIG DATABASE base|products`.

`base` makes what a company needs before its first sale. `products` reads [{code, name, unit_price, quantity, type}]
from stdin and prints {settings: what a connection needs, products: ids by code} as JSON.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

from proteus import Model, config
from trytond.modules.account.tests.tools import create_chart, create_fiscalyear, get_accounts
from trytond.modules.account_invoice.tests.tools import create_payment_term, set_fiscalyear_invoice_sequences
from trytond.modules.company.tests.tools import create_company

CUSTOMER = "网店顾客"


def base() -> None:
    """A company that sells in CNY, its chart of accounts, a customer for all shops, a payment term."""
    create_company(currency="CNY")
    create_chart()
    set_fiscalyear_invoice_sequences(create_fiscalyear()).click("create_period")
    accounts = get_accounts()
    category = Model.get("product.category")(name="Goods", accounting=True)
    category.account_revenue, category.account_expense = accounts["revenue"], accounts["expense"]
    category.save()
    create_payment_term().save()
    customer = Model.get("party.party")(name=CUSTOMER)
    customer.addresses[0].street = "测试路 1 号"
    customer.save()


def settings() -> dict[str, int]:
    """The ids a connection is set up with."""
    customer, freight = _first("party.party", name=CUSTOMER), _first("product.product", code="FREIGHT")
    found = {
        "company": _first("company.company"),
        "unit": _first("product.uom", name="Unit"),
        "warehouse": _warehouse(),
    }
    found |= {"party": customer, "address": customer.addresses[0], "freight_product": freight}
    found["payment_term"] = _first("account.invoice.payment_term")
    return {name: record.id for name, record in found.items()}


def products(wanted: list[dict[str, Any]]) -> dict[str, int]:
    """Salable products with stock in the warehouse's storage."""
    made = {row["code"]: _product(row) for row in wanted}
    for row in wanted:
        if row.get("quantity"):
            _receive(made[row["code"]], row["quantity"])
    return {code: product.id for code, product in made.items()}


def _product(row: dict[str, Any]) -> Any:
    template = Model.get("product.template")(name=row["name"], type=row.get("type", "goods"), salable=True)
    template.default_uom = _first("product.uom", name="Unit")
    template.list_price = Decimal(str(row.get("unit_price", "1")))
    template.account_category = _first("product.category", name="Goods")
    template.products[0].suffix_code = row["code"]
    template.save()
    return template.products[0]


def _receive(product: Any, quantity: int) -> None:
    move = Model.get("stock.move")(product=product, quantity=quantity, unit=product.default_uom)
    move.from_location = _first("stock.location", type="lost_found")
    move.to_location = _warehouse().storage_location
    move.save()
    move.click("do")


def _warehouse() -> Any:
    return _first("stock.location", type="warehouse")


def _first(model: str, **wanted: str) -> Any:
    return Model.get(model).find([(name, "=", value) for name, value in wanted.items()], limit=1)[0]


def main(config_file: str, database: str, what: str) -> None:
    """Do it and print what came of it."""
    current = config.set_trytond(database, config_file=config_file)
    if what == "base":
        base()
        return
    current._context = Model.get("res.user").get_preferences(True, {})
    made = products(json.load(sys.stdin))
    print(json.dumps({"settings": settings(), "products": made}))


if __name__ == "__main__":
    main(*sys.argv[1:])
