# frozen_string_literal: true

require "support"
require "apnsd"

class BatchTest < Minitest::Test
  def test_a_call_that_is_short_enough_keeps_its_request_id
    assert_equal [[%w[a b], '{"aps":{}}', { request_id: "r" }]], calls(%w[a b], { aps: {} })
    assert_equal [[%w[a], '{"aps":{}}', { request_id: "r" }]], calls("a", { aps: {} })
  end

  def test_the_calls_of_a_long_list_are_numbered_behind_the_first
    assert_equal [[%w[a b], "{}", { request_id: "r" }], [%w[c d], "{}", { request_id: "r-1" }],
                  [%w[e], "{}", { request_id: "r-2" }]], calls(%w[a b c d e], {})
    assert_equal(%w[r r-1], calls(%w[a b c d], {}).map { |call| call[2][:request_id] })
  end

  def test_no_call_is_larger_than_the_daemon_takes
    { [["<#{"a" * 9}" * 400_000] * 4, "{}", {}] => [3, 1], [["a"] * 4, ["&#{"a" * 9}" * 400_000] * 4, {}] => [2, 2],
      [["a"] * 10, "{}", { topic: ["t" * 3_000_000] * 10 }] => [5, 5], [["a"] * 3, "x" * 20_000_000, {}] => [1, 1, 1] }
      .each do |(tokens, notifications, options), counts|
      calls = calls(tokens, notifications, max: 100, **options)
      assert_equal counts, (calls.map { |call| call[0].size })
      assert_equal((0...counts.size).map { |number| number.zero? ? "r" : "r-#{number}" },
                   calls.map { |call| call[2][:request_id] })
      next if counts.max == 1

      assert_operator calls.map { |call| Apnsd::Codec.call("notify", ["a", *call]).bytesize }.max, :<, 16 << 20
    end
  end

  def test_ten_thousand_small_tokens_are_one_call
    assert_equal 1, calls(["a" * 64] * 10_000, "{}", max: 10_000).size
  end

  def test_a_notification_that_is_none_is_refused_before_any_call
    error = assert_raises(Apnsd::InvalidArguments) { calls(%w[a b c], [{}, {}, 7]) }
    assert_match(/\Anotifications\[2\]: a Hash, /, error.message)
    assert_equal ["r", 0], [error.request_id, error.accepted]
  end

  def test_no_tokens_are_no_call
    assert_empty calls([], {})
    assert_empty calls([].each, {})
  end

  def test_a_lazy_list_is_read_call_by_call
    read = 0
    lazy = (1..5).lazy.map { |number| (read = number).to_s }
    read_before = []
    Apnsd::Batch.new(lazy, {}, request_id: "r").each_call(2) { read_before << read }
    assert_equal [3, 5, 5], read_before
  end

  def test_what_is_given_for_each_token_goes_with_it
    calls = calls(%w[a b c], [{ n: 1 }, '{"n":2}', Apnsd::Notification.new(badge: 3)],
                  priority: [10, 5, 1], topic: "t", collapse_id: nil)
    assert_equal [[%w[a b], ['{"n":1}', '{"n":2}'], { priority: [10, 5], topic: "t", request_id: "r" }],
                  [%w[c], ['{"aps":{"badge":3}}'], { priority: [1], topic: "t", request_id: "r-1" }]], calls
  end

  def test_an_expiration_is_unix_seconds_or_a_time
    given = ->(expiration) { calls(%w[a b], {}, expiration:)[0][2][:expiration] }
    assert_equal 2_000_000_000, given.call(Time.at(2_000_000_000))
    assert_equal 2_000_000_000, given.call(Time.at(2_000_000_000).to_datetime)
    assert_equal [0, 7], given.call([0, Time.at(7)])
  end

  def test_numbers_that_differ_are_refused_before_any_call
    many = "; give one for each, or one for all"
    { [%w[a b c], [{}, {}], {}] => "notifications: an array of 2, but not as many tokens#{many}",
      [(1..9).lazy.map(&:to_s), [{}, {}], {}] => "notifications: an array of 2, but not as many tokens#{many}",
      ["a", [], {}] => "notifications: an array of 0, but not as many tokens#{many}",
      [%w[a b c], {}, { priority: [1] }] => "priority: an array of 1, but not as many tokens#{many}" }
      .each do |(tokens, notifications, options), text|
      error = assert_raises(Apnsd::InvalidArguments) { calls(tokens, notifications, **options) }
      assert_equal [text, "r", 0], [error.message, error.request_id, error.accepted]
    end
  end

  def test_tokens_are_text_or_a_list
    error = assert_raises(Apnsd::InvalidArguments) { calls(7, {}) }
    assert_equal "tokens: a String or an Enumerable of them is needed, not Integer", error.message
  end

  def test_tokens_need_no_more_than_each
    tokens = Object.new
    def tokens.each
      yield "a"
      yield "b"
    end
    assert_equal([%w[a b]], calls(tokens, [{}, {}]).map(&:first))
  end

  private

  def calls(tokens, notifications, max: 2, **options)
    calls = []
    Apnsd::Batch.new(tokens, notifications, request_id: "r", **options).each_call(max) { |*call| calls << call }
    calls
  end
end
