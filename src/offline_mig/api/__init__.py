"""What other programs call, and the command line itself: see docs/api.md.

There is a module for each subject, with its calls and with what they return as plain data, in the
forms of the schemas. All that is for others is imported from ``offline_mig``, which loads each name
when it is first asked for.
"""
