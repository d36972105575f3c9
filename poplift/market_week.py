"""When a week of the market opens and when its sales are known: the two facts that every package shares."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

LOCAL_TIME = ZoneInfo("America/New_York")  # weeks open on Monday midnight there, in summer and in winter
SALES_DELAY = timedelta(days=1)  # a week's sales have landed a day after it closed; then the next week is decided
EPOCH = date(1970, 1, 1)


def decided_week(business_time: datetime) -> date:
    """First local day of the week that is decided at business time: the newest one whose decision instant has come."""
    local = (business_time - SALES_DELAY).astimezone(LOCAL_TIME).date()
    return local - timedelta(days=local.weekday())


def day_number(day: date) -> int:
    """Days since 1970-01-01, the form in which the request field planned_week_start_day carries a day."""
    return (day - EPOCH).days
