"""`launch doctor`: small checks of this machine, the project and the job, each a row with its fix."""

from headway.jobs.doctor.examination import CHECKS, examine, examined
from headway.jobs.doctor.report import Found, Report, Row, State
from headway.jobs.doctor.subject import Subject

__all__ = ["CHECKS", "Found", "Report", "Row", "State", "Subject", "examine", "examined"]
