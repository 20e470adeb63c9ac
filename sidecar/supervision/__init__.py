"""A supervisor for threads, after the one of Erlang/OTP; it knows no word of backups.

Face: ``supervisor`` (Supervisor), ``child`` (ChildSpec, Context), ``mailbox`` (Mailbox), ``messages`` (Stop).
"""
