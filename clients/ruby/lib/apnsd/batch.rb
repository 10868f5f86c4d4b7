# frozen_string_literal: true

module Apnsd
  # The tokens and notifications of a call of any length, cut into calls that the daemon takes.
  class Batch # :nodoc:
    # Tokens that one call of the daemon takes here: accepted as a whole or not at all.
    NOTIFY_MAX = 10_000
    SEND_MAX = 1_000

    # Of the call as a whole.
    attr_reader :request_id
    # How many tokens were in the calls that came back.
    attr_reader :accepted

    # Raises InvalidArguments for what cannot go together.
    def initialize(tokens, notifications, request_id:, **options)
      @request_id = request_id.to_s
      @tokens = tokens.is_a?(String) ? [tokens] : tokens
      @notifications = notifications.is_a?(Array) ? notifications : Notification.json(notifications)
      @options = Options.wire(options)
      @accepted = 0
      check
    end

    # Yields tokens, notifications and options of each call.
    def each_call(max)
      slice = []
      @tokens.each do |token|
        slice = pass_on(slice, "#{request_id}-#{accepted / max}") { |*call| yield(*call) } if slice.size == max
        slice << token
      end
      return if slice.empty?

      pass_on(slice, accepted.zero? ? request_id : "#{request_id}-#{accepted / max}") { |*call| yield(*call) }
    end

    private

    def pass_on(slice, request_id)
      options = @options.transform_values { |value| rows(value, slice.size) }
      notifications = rows(@notifications, slice.size)
      yield slice, json(notifications), options.merge(request_id:)
      @accepted += slice.size
      []
    end

    def json(notifications)
      return notifications unless notifications.is_a?(Array)

      notifications.map.with_index { |each, index| Notification.json(each, "notifications[#{index}]") }
    end

    # What belongs to the next tokens: their part of an array, or what is for all.
    def rows(value, size)
      value.is_a?(Array) ? value[accepted, size] : value
    end

    # Whatever is given for each token must be as many as the tokens, which is known before the first call is made.
    def check
      unless @tokens.respond_to?(:each)
        raise InvalidArguments, "tokens: a String or an Enumerable of them is needed, not #{@tokens.class}"
      end

      { notifications: @notifications, **@options }.each do |name, value|
        next unless value.is_a?(Array)

        @tokens = @tokens.first(value.size + 1) unless @tokens.is_a?(Array)
        check_count(name, value.size)
      end
    end

    def check_count(name, count)
      return if @tokens.size == count

      raise InvalidArguments, "#{name}: an array of #{count}, but not as many tokens; give one for each, or one for all"
    end
  end
end
