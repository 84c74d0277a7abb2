"""The tables of the cycle's lease and of the life of models."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from nowcast.store.tables import Base, Id, _table

__all__ = ["Base", "leases", "transitions", "trials"]


class LeaseRow(Base):
    """Who may publish: one row per lease; the token grows with every change of holder and never goes back."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(200))
    token: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime]


class TransitionRow(Base):
    """One step in the life of a model: who, when, why, and the numbers that it rests on. Rows are only added."""

    __tablename__ = "transitions"
    __table_args__ = (Index(None, "model"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model: Mapped[str] = mapped_column(String(64))
    family: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    regions: Mapped[list[str]]
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime]
    why: Mapped[str] = mapped_column(Text)
    numbers: Mapped[dict[str, Any]]


class TrialRow(Base):
    """A forecast that is made beside the one that serves, kept until it has been verified: a few leads of it."""

    __tablename__ = "trials"

    region: Mapped[str] = mapped_column(String(64), primary_key=True)
    base_time: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(64), primary_key=True)
    made_at: Mapped[datetime]
    shape: Mapped[dict[str, Any]]
    blob: Mapped[bytes] = mapped_column(LargeBinary)


leases, transitions, trials = _table(LeaseRow), _table(TransitionRow), _table(TrialRow)
