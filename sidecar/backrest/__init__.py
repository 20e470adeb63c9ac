"""The running Backrest: which container it is, what it does now, its API and its log.

Face: ``protected`` (choose_backrest), ``container`` (locate, UpWatch), ``idle`` (IdleWatch), ``api``
(BackrestApi).
"""
