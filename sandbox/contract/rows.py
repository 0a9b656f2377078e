"""The contract: its rows, in the order in which they are tried."""

from __future__ import annotations

from sandbox.contract import call_rows, callback_rows, fixture_rows, manifest_rows
from sandbox.contract.row import Row, calls, claimed, hears, hears_signed, probed, reads, repeatable, whole

ROWS = (
    Row("manifest_is_complete", manifest_rows.manifest_is_complete, whole),
    Row("settings_draw_the_form", manifest_rows.settings_draw_the_form, whole),
    Row("required_abilities_are_claimed", manifest_rows.required_abilities_are_claimed, whole, required=False),
    Row("twin_uses_the_settings", manifest_rows.twin_uses_the_settings, whole),
    Row("client_only_speaks_the_wire", manifest_rows.client_only_speaks_the_wire, whole),
    Row("client_has_the_ability", manifest_rows.client_has_the_ability, claimed),
    Row("secrets_never_show", manifest_rows.secrets_never_show, whole),
    Row("vectors_reproduce", manifest_rows.vectors_reproduce, whole),
    Row("mappings_compile", fixture_rows.mappings_compile, whole),
    Row("every_kind_has_a_fixture", fixture_rows.every_kind_has_a_fixture, whole),
    Row("every_kind_has_a_held_fixture", fixture_rows.every_kind_has_a_held_fixture, whole, required=False),
    Row("fixtures_name_their_fact", fixture_rows.fixtures_name_their_fact, whole, required=False),
    Row("fixtures_translate", fixture_rows.fixtures_translate, whole),
    Row("mutations_are_noticed", fixture_rows.mutations_are_noticed, whole, required=False),
    Row("does_its_work", call_rows.does_its_work, calls),
    Row("page_is_well_formed", call_rows.page_is_well_formed, reads),
    Row("empty_page_is_fine", call_rows.empty_page_is_fine, reads),
    Row("same_page_twice_is_the_same", call_rows.same_page_twice_is_the_same, reads),
    Row("moving_pages_lose_nothing", call_rows.moving_pages_lose_nothing, reads),
    Row("wrong_credentials_are_told", call_rows.wrong_credentials_are_told, calls),
    Row("survives_401_and_403", call_rows.survives_401_and_403, calls),
    Row("survives_429", call_rows.survives_429, calls),
    Row("survives_5xx", call_rows.survives_5xx, calls),
    Row("survives_timeout_before", call_rows.survives_timeout_before, calls),
    Row("survives_timeout_after", call_rows.survives_timeout_after, calls),
    Row("survives_truncated", call_rows.survives_truncated, calls),
    Row("survives_garbled", call_rows.survives_garbled, calls),
    Row("survives_hollow", call_rows.survives_hollow, calls),
    Row("repeat_does_no_harm", call_rows.repeat_does_no_harm, repeatable),
    Row("probe_tells_the_truth", call_rows.probe_tells_the_truth, probed),
    Row("probe_only_reads", call_rows.probe_only_reads, probed),
    Row("callbacks_are_understood", callback_rows.callbacks_are_understood, hears),
    Row("same_delivery_twice_is_one", callback_rows.same_delivery_twice_is_one, hears),
    Row("failures_are_told", callback_rows.failures_are_told, hears),
    Row("malformed_bodies_are_answered", callback_rows.malformed_bodies_are_answered, hears),
    Row("flipped_byte_is_refused", callback_rows.flipped_byte_is_refused, hears_signed),
    Row("missing_signature_is_refused", callback_rows.missing_signature_is_refused, hears_signed),
)
"""Those not required cost one grade when they fail; one required row that fails leaves a C."""
