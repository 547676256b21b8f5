"""A client for a running Halftone: ``Halftone`` blocks, ``AsyncHalftone`` is awaited. The only part of the library that speaks HTTP."""

from __future__ import annotations

from halftone.client.access import Access, locate
from halftone.client.answers import Deleted, Engine, Health, InclusionProof, NamedSource, Preview, Rows, Schema, Verified
from halftone.client.audit import ProofWrong
from halftone.client.client import AsyncHalftone, Halftone
from halftone.client.errors import (
    AnswerWrong,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Gone,
    HalftoneError,
    Invalid,
    JobCancelled,
    JobEnded,
    JobFailed,
    JobRefused,
    NotConfigured,
    NotFound,
    Problem,
    ResultMissing,
    ServerFailed,
    TableNotUsable,
    TooLarge,
    Unauthorized,
    Unavailable,
    WaitedTooLong,
)
from halftone.client.handles import AsyncJob, Job

__all__ = [
    "Access",
    "AnswerWrong",
    "AsyncHalftone",
    "AsyncJob",
    "Conflict",
    "ConnectionFailed",
    "Deleted",
    "Engine",
    "Forbidden",
    "Gone",
    "Halftone",
    "HalftoneError",
    "Health",
    "InclusionProof",
    "Invalid",
    "Job",
    "JobCancelled",
    "JobEnded",
    "JobFailed",
    "JobRefused",
    "NamedSource",
    "NotConfigured",
    "NotFound",
    "Preview",
    "Problem",
    "ProofWrong",
    "ResultMissing",
    "Rows",
    "Schema",
    "ServerFailed",
    "TableNotUsable",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "Verified",
    "WaitedTooLong",
    "locate",
]
