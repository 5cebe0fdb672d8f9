"""What is handed on between the stages and to the API: columns of the raw and clean files, tables
of the store, and who writes and checks these files.
No rule about values.
"""
