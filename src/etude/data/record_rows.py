"""Records as rows of JSON, in the columns that the plugins of `data/record` read."""

from typing import Any

from etude.records import (
    Chat,
    Choice,
    Feedback,
    Labelled,
    Message,
    Pair,
    Preference,
    Prompt,
    Question,
    Ranking,
    Record,
    Text,
    prompt_fields,
)


def row_of(record: Record) -> dict[str, Any]:
    """The row of a record; read again, it gives an equal record.

    A margin, a probability and a second text are read again if data.columns names their columns.
    """
    match record:
        case Text(text):
            return {"text": text}
        case Pair(source, target):
            return {"source": source, "target": target}
        case Question(question, context, answers, starts):
            found = {"text": list(answers), "answer_start": list(starts)}
            return {"question": question, "context": context, "answers": found}
        case Chat(messages, tools):
            rows = [_message(message) for message in messages]
            return {"messages": rows, **({"tools": list(tools)} if tools else {})}
        case Preference(prompt, chosen, rejected, margin, probability):
            sides = {"chosen": _completion(chosen), "rejected": _completion(rejected)}
            certainty = {"margin": margin} if margin else {}
            certainty |= {"probability": probability} if probability != 1 else {}
            return prompt_fields(prompt) | sides | certainty
        case Ranking(prompt, completions):
            return prompt_fields(prompt) | {"completions": list(map(_completion, completions))}
        case Feedback(prompt, completion, score):
            return prompt_fields(prompt) | {"completion": _completion(completion), "label": score}
        case Prompt(prompt, answer):
            return prompt_fields(prompt) | ({} if answer is None else {"answer": answer})
        case Labelled(str() as text, label, second):
            kind = "rating" if isinstance(label, float) else "label"
            return {"text": text, kind: label} | ({} if second is None else {"second": second})
        case Labelled(words, tags):
            return {"tokens": list(words), "tags": tags}
        case Choice(prompt, choices, right):
            return prompt_fields(prompt) | {"choices": list(choices), "answer": right}


def _message(message: Message) -> dict[str, Any]:
    return message.as_row() | ({} if message.learn else {"weight": 0})


def _completion(completion: str | Message) -> Any:
    return completion if isinstance(completion, str) else [_message(completion)]
