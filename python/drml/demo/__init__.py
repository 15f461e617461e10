"""The data of `make run`, faces with labels made from one photograph, and a report on the result.

`landmarks` says where the features are, `warp` and `texture` relax the photograph, `muscles` and
`wrinkles` say what each AU does, `faces` draws people, `make_data` makes the data set, and `report`
shows what a net says of it.
"""
