from etude.cli.main import main


def test_it_keeps_the_laws_of_its_group() -> None:
    assert main(["check", "scorer=sketch"]) == 0
