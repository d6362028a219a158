"""A trained run -> a page to try it on: drop a radiograph, see what the network finds.

    POST /examine ─► uploads ─► examine ─► results ─► page
    (guard)          a file     the run    in memory  in a browser

| module  | what                                                                         |
|---------|------------------------------------------------------------------------------|
| app     | the addresses, and the desk at which one file after another is examined      |
| guard   | who may ask at all, and what every answer says to a browser                  |
| uploads | a body as it comes in -> a file that is not too large, too slow, or a bomb   |
| results | what is shown of a radiograph, and the last few of them                      |
| examine | a run -> the function that examines a file                                   |
| server  | an address -> a server there                                                 |

Nothing here knows a network but `examine`. An upload lies in a nameless temporary file, and while it is examined in a
folder of its own; its results in another while they are written, then in memory only. Nothing that names a patient, no
file's name above all, is logged.
"""
