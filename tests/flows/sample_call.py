"""The sample call of the source document; host and token come from the command line."""

import json
import sys

from eas_prediction import QueueClient

host, token = sys.argv[1:]

# Create an input queue client to write input data.
input_queue = QueueClient(host, "photog_check")
input_queue.set_token(token)
input_queue.init()

datas = json.dumps(
    {
        "request_id": 12345,
        "images": ["xx.jpg", "xx.jpg"],  # urls, a list
        "configure": {
            "face_reconize": True,  # Checks if all pictures are of the same person.
        },
    }
)
# Specify taskType as query.
tags = {"taskType": "query"}
index, request_id = input_queue.put(f"{datas}", tags)
print(index, request_id)

# View the details of the input queue.
attrs = input_queue.attributes()
print(attrs)
