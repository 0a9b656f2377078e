"""The roads of SF's twin: parcels that move by themselves, and the push that tells of it, doubled and disordered."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import urlencode

from lxml import etree

from sandbox.twin import Faults, Pusher

CHINA = timezone(timedelta(hours=8))
BATCH_MAX = 10
DUPLICATES = {"none": 0.0, "mild": 0.2, "harsh": 0.75}
SAID_AT_ONCE = (0, 0, 1, 1, 2)
"""How many copies of one row leave in one go when not calm: what is held back is overtaken by what happens next."""
JOURNEYS = (
    ("50", "30", "36", "31", "44", "80", "8000"),
    ("54", "50", "30", "105", "106", "31", "44", "70", "44", "80"),
    ("50", "30", "36", "31", "44", "125", "80"),
)
WORDS = {
    "50": "顺丰速运 已收取快件",
    "54": "快件已在营业点收取",
    "30": "快件在【{place}中转场】完成分拣，准备发往下一站",
    "36": "快件离开【{place}】",
    "31": "快件到达【{place}营业点】",
    "105": "航空运输已起飞",
    "106": "航空运输已到达",
    "44": "快件交给王师傅（联系电话：13800000000），正在派送途中",
    "70": "因收方客户不在，本次派送不成功",
    "125": "快件已投放至丰巢柜，请凭取件码取件",
    "80": "已签收，签收人凭取货码签收",
    "8000": '在官网"运单资料&签收图"可查看签收人信息',
}
AT_SENDER = ("50", "54", "30", "36", "105")


@dataclass
class Parcel:
    """One waybill on its way. routes: what has happened to it, oldest first."""

    waybill: str
    orderid: str
    here: str
    there: str
    journey: tuple[str, ...]
    state: str = "booked"
    routes: list[dict[str, str]] = field(default_factory=list)

    @property
    def moving(self) -> bool:
        """Whether something is still to happen."""
        return self.state != "booked" and len(self.routes) < len(self.journey)

    def move(self, number: int) -> dict[str, str]:
        """The next thing happens; its time is later than the last one's, to the second."""
        code = self.journey[len(self.routes)]
        place = self.here if code in AT_SENDER else self.there
        row = {
            "id": str(number),
            "mailno": self.waybill,
            "orderid": self.orderid,
            "acceptTime": self._next_time(),
            "acceptAddress": place,
            "remark": WORDS[code].format(place=place),
            "opCode": code,
            "reasonCode": "",
            "reasonName": "",
        }
        self.routes.append(row)
        self.state = "delivered" if code in ("80", "8000") else "moving"
        return row

    def _next_time(self) -> str:
        now = datetime.now(CHINA).replace(microsecond=0, tzinfo=None)
        if self.routes:
            now = max(now, datetime.fromisoformat(self.routes[-1]["acceptTime"]) + timedelta(seconds=1))
        return now.isoformat(" ")


class Roads:
    """All parcels under way. One thread moves them every move_s and pushes what happened to callback_url."""

    def __init__(self, faults: Faults, lock: threading.RLock, pusher: Pusher) -> None:
        self._faults, self._changed = faults, threading.Condition(lock)
        self._pusher = pusher
        self._random = random.Random(0)
        self._unsaid: list[dict[str, str]] = []
        self._said: set[str] = set()
        self._newest: dict[str, str] = {}
        self.parcels: dict[str, Parcel] = {}
        self.callback_url, self.mode, self.move_s = "", "json", 0.03
        self.duplicates: float | None = None
        self.rows_pushed = self.rows_duplicate = self.pushes = self._number = 0
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def idle(self) -> bool:
        """Whether nothing moves and all that happened has been heard."""
        with self._changed:
            return not self._busy() and self._pusher.idle

    def take(self, waybill: str) -> bool:
        """A parcel is handed over; from now on it moves. False where no such waybill was given out."""
        with self._changed:
            parcel = self.parcels.get(waybill)
            if parcel and parcel.state == "booked":
                parcel.state = "moving"
                self._changed.notify()
            return parcel is not None

    def move_all(self, parcel: Parcel) -> None:
        """Bring one parcel to its end at once, without a word."""
        with self._changed:
            parcel.state = "moving"
            while parcel.moving:
                parcel.move(self._next_number())

    def _busy(self) -> bool:
        return bool(self._unsaid) or any(parcel.moving for parcel in self.parcels.values())

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._busy)
                self._changed.wait_for(lambda: False, self.move_s)
                self._move()
                leaving = self._leaving()
                for start in range(0, len(leaving), BATCH_MAX):
                    self._say(leaving[start : start + BATCH_MAX])

    def _move(self) -> None:
        for parcel in self.parcels.values():
            if parcel.moving:
                row = parcel.move(self._next_number())
                self._unsaid += [row] * (1 + self._copies())

    def _copies(self) -> int:
        """How often one row is said too often, so that the share of duplicates comes out as asked."""
        share = DUPLICATES[self._faults.level] if self.duplicates is None else self.duplicates
        wanted = share / (1 - share)
        return int(wanted) + (self._random.random() < wanted % 1)

    def _leaving(self) -> list[dict[str, str]]:
        """The rows said now: all in order when calm, else some of them in any order."""
        if not self.callback_url:
            self._unsaid = []
        if self._faults.level == "none" and not self.duplicates:
            leaving, self._unsaid = self._unsaid, []
            return leaving
        return self._disordered()

    def _disordered(self) -> list[dict[str, str]]:
        waiting, self._unsaid = self._unsaid, []
        free = {number: self._random.choice(SAID_AT_ONCE) for number in dict.fromkeys(row["id"] for row in waiting)}
        leaving: list[dict[str, str]] = []
        for row in waiting:
            (leaving if free[row["id"]] > 0 else self._unsaid).append(row)
            free[row["id"]] -= 1
        self._random.shuffle(leaving)
        return leaving

    def _say(self, rows: list[dict[str, str]]) -> None:
        self.pushes += 1
        for fault in {fault for row in rows if (fault := self._count(row))}:
            self._faults.note(f"{fault}/push_routes")
        body, headers = pushed(rows, self.mode)
        self._pusher.say("push_routes", self.callback_url, body, headers)

    def _count(self, row: dict[str, str]) -> str:
        """Count a row that is said; which fault it is, if it is one."""
        self.rows_pushed += 1
        if row["id"] in self._said:
            self.rows_duplicate += 1
            return "duplicate"
        self._said.add(row["id"])
        late = row["acceptTime"] < self._newest.get(row["mailno"], "")
        self._newest[row["mailno"]] = max(row["acceptTime"], self._newest.get(row["mailno"], ""))
        return "reorder" if late else ""


def pushed(rows: list[dict[str, str]], mode: str) -> tuple[bytes, dict[str, str]]:
    """One route push as SF sends it, and its headers."""
    if mode == "json":
        text = json.dumps({"Body": {"WaybillRoute": rows}}, ensure_ascii=False)
        return text.encode(), {"Content-Type": "application/json;charset=UTF-8"}
    request = etree.Element("Request", service="RoutePushService", lang="zh-CN")
    body = etree.SubElement(request, "Body")
    for row in rows:
        etree.SubElement(body, "WaybillRoute", row)
    content = urlencode({"content": etree.tostring(request, encoding="unicode")})
    return content.encode(), {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}


def heard(status: int, body: bytes) -> bool:
    """Whether the receiver has the whole batch; any other answer has it sent again."""
    return status == 200 and (body.startswith(b'{"return_code":"0000"') or b"<Head>OK</Head>" in body)
