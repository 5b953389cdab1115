"""Agents from configurations: what is composed is what sits down, and mistakes are told before anything is loaded."""

import inspect

import hydra
import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from mars_lmm.composition import typed
from mars_lmm.config import SimulateConfig
from mars_lmm.paths import CONF
from mars_lmm.simulation.agents.market_maker import MarketMaker
from mars_lmm.simulation.agents.registry import BUILT_IN, seat_plans
from mars_lmm.simulation.agents.seats import ENOUGH_CASH, ENOUGH_SIZE
from mars_lmm.simulation.agents.twap import TwapAgent

MINE = """
from mars_lmm.simulation.agents import Agent, Decision

class Mine(Agent):
    def __init__(self, size, price=5):
        if size < 1:
            raise ValueError("size must be above 0")
        self.size, self.price = size, price

    def act(self, view, state):
        return Decision(view.time + 1)
"""


def composed(*overrides):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return typed(hydra.compose("simulate", ["run=x", *overrides]), SimulateConfig)


def refused(*overrides):
    with pytest.raises(ConfigCompositionException) as error:
        composed(*overrides)
    return str(error.value)


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "my_agent.py"
    path.write_text(MINE)
    return path


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_agent_has_a_file_of_its_defaults(name):
    """conf/agents/NAME.yaml names every argument, with the value that it has without the file."""
    settings = OmegaConf.to_container(OmegaConf.load(f"{CONF}/agents/{name}.yaml"))[name]
    assert settings.pop("agent") == name
    latency, account = settings.pop("latency", {}), settings.pop("account", {})
    assert not any(latency.values())
    assert set(account.values()) <= {None}
    parameters = inspect.signature(BUILT_IN[name]).parameters
    assert list(settings) == list(parameters)
    for key, value in settings.items():
        default = parameters[key].default
        assert value == ("???" if default is inspect.Parameter.empty else default), key


def test_one_override_seats_a_built_in_agent():
    config = composed("+agents=twap", "agents.twap.target=5000", "agents.twap.latency.orders=0.25")
    (plan,) = seat_plans(config.agents)
    assert (plan.name, plan.see_latency, plan.send_latency) == ("twap", 0, 250_000_000)
    assert isinstance(plan.agent, TwapAgent)
    assert plan.agent.target == 5000
    assert plan.account == (ENOUGH_CASH, 0, ENOUGH_SIZE)


def test_several_agents_sit_down_in_order(mine):
    overrides = "+agents=[twap,market_maker]", "agents.twap.target=1", f"+agents.mine={{agent: {mine}, size: 100}}"
    plans = seat_plans(composed(*overrides, "+agents.other={agent: twap, target: 7, side: sell}").agents)
    assert [plan.name for plan in plans] == ["twap", "market_maker", "mine", "other"]
    assert isinstance(plans[1].agent, MarketMaker)
    assert (plans[2].agent.size, plans[2].agent.price) == (100, 5)
    assert plans[3].agent.target == 7


def test_an_account_is_what_is_given_of_it():
    def account(**given):
        (plan,) = seat_plans({"a": {"agent": "replay", "account": given}})
        return plan.account

    assert account(cash=100) == (100, 0, ENOUGH_SIZE)
    assert account(position=30) == (ENOUGH_CASH, 30, 30)
    assert account(cash=1, position=30, sellable=10) == (1, 30, 10)


def test_a_target_is_asked_for():
    assert "agents.twap.target" in refused("+agents=twap")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{agent: twp}", ["agents.x.agent: 'twp' is unknown, did you mean 'twap'?", "market_maker, noise, pov"]),
        ("{agent: nothing_like_it}", ["'nothing_like_it' is unknown; there is"]),
        ("{agent: twap, target: 2, sde: buy}", ["'sde' is unknown, did you mean 'side'?", "passive_ratio"]),
        ("{agent: twap}", ["agents.x: missing a required argument: 'target'"]),
        ("{agent: twap, target: 0}", ["agents.x: target=0"]),
        ("{agent: twap, target: 1, latency: {order: 1}}", ["agents.x.latency: 'order' is unknown", "'orders'?"]),
        ("{agent: twap, target: 1, latency: {orders: -1}}", ["agents.x.latency.orders=-1: give seconds"]),
        ("{agent: twap, target: 1, latency: 3}", ["agents.x.latency: give market_data: ..., orders: ..."]),
        ("{agent: twap, target: 1, account: {money: 1}}", ["agents.x.account: 'money' is unknown"]),
        ("{agent: twap, target: 1, account: {cash: 1.5}}", ["agents.x.account.cash=1.5: give a whole number"]),
        ("{size: 3}", ["agents.x: give agent=NAME, one of bootstrap, cst"]),
        ("5", ["agents.x: give agent=NAME"]),
        ("{agent: missing.py}", ["agents.x.agent: missing.py: no such file"]),
    ],
)
def test_mistakes_are_told_when_the_configuration_is_composed(settings, told):
    message = refused(f"+agents.x={settings}")
    for part in told:
        assert part in message


def test_no_agent_is_called_as_the_model_is():
    assert "agents.model: results call the model so" in refused("+agents.model={agent: replay}")


@pytest.mark.parametrize(
    ("text", "agent", "told"),
    [
        (MINE, "{}:Other", "defines no agent Other; there is Mine"),
        (MINE + "class Second(Mine): pass\n", "{}", "defines Mine, Second; choose one with"),
        ("x = 1\n", "{}", "defines no class that derives from mars_lmm.simulation.agents.Agent"),
        ("from mars_lmm.simulation.agents import Agent\n", "{}", "defines no class"),
        ("import nowhere_to_be_found\n", "{}", "cannot be run: ModuleNotFoundError"),
        ("def (:\n", "{}", "cannot be run: SyntaxError"),
        ("from mars_lmm.simulation.agents import Agent\nclass A(Agent): pass\n", "{}", "A has no act"),
    ],
)
def test_what_may_be_wrong_with_a_users_file(mine, text, agent, told):
    mine.write_text(text)
    with pytest.raises(ValueError, match=r"agents\.x\.agent") as error:
        seat_plans({"x": {"agent": agent.format(mine), "size": 1}})
    assert told in str(error.value)


def test_a_users_class_is_chosen_by_name_and_checked_by_itself(mine):
    mine.write_text(MINE + "class Second(Mine): pass\n")
    (plan,) = seat_plans({"x": {"agent": f"{mine}:Second", "size": 3}})
    assert type(plan.agent).__name__ == "Second"
    with pytest.raises(ValueError, match=r"agents\.x: size must be above 0"):
        seat_plans({"x": {"agent": f"{mine}:Mine", "size": 0}})
    with pytest.raises(ValueError, match=r"'prize' is unknown, did you mean 'price'\?"):
        seat_plans({"x": {"agent": f"{mine}:Mine", "size": 1, "prize": 0}})


def test_files_of_one_name_do_not_meet(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "mine.py").write_text(MINE + f"class Only{number}(Mine): pass\n")
    one, two = (
        seat_plans({"x": {"agent": f"{tmp_path}/{number}/mine.py:Only{number}", "size": 1}})[0] for number in (1, 2)
    )
    assert type(one.agent).__name__ == "Only1"
    assert type(two.agent).__name__ == "Only2"
