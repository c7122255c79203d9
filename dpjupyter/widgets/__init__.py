"""Widgets: a reply in, a widget out. No network here: what a button does is passed in.

budget      BudgetPanel: gauges of the budget rows
owner       OwnerPanel: budgets, consumption, audit log, suspensions
forms       its forms
audit       its view of the log
twins       its form for synthetic twins
quote       QuoteView: a price before it is paid
answer      AnswerView: values with intervals, a chart, comparison
gauges      budget rows as text and HTML
charts      small SVG charts
suspicion   near-duplicate questions in an audit log
base        text form of every widget, for notebooks without widgets and for comparing
"""

from dpjupyter.widgets.answer import AnswerView
from dpjupyter.widgets.budget import BudgetPanel
from dpjupyter.widgets.owner import OwnerActions, OwnerPanel
from dpjupyter.widgets.quote import QuoteView
from dpjupyter.widgets.twins import TwinActions

__all__ = ["AnswerView", "BudgetPanel", "OwnerActions", "OwnerPanel", "QuoteView", "TwinActions"]
