# frozen_string_literal: true

module Apnsd
  # The tokens and notifications of a call of any length, cut into calls that the daemon takes.
  class Batch # :nodoc:
    # Tokens that one call of the daemon takes here: accepted as a whole or not at all.
    NOTIFY_MAX = 10_000
    SEND_MAX = 1_000
    # Bytes of XML that one call may have, but for what is around its tokens.
    BODY_MAX = (16 << 20) - (64 << 10)
    # Bytes of XML around each value, or of one that is not text.
    VALUE_SIZE = 64
    private_constant :VALUE_SIZE

    # Of the call as a whole.
    attr_reader :request_id
    # How many tokens were in the calls that came back.
    attr_reader :accepted

    # Raises InvalidArguments for what cannot go together.
    def initialize(tokens, notifications, request_id:, **options)
      @request_id = request_id.to_s
      @tokens = tokens.is_a?(String) ? [tokens] : tokens
      @options = Options.wire(options)
      @accepted = @calls = 0
      of_call { @notifications = json(notifications) }
      check
    end

    # Yields tokens, notifications and options of each call.
    def each_call(max, &block)
      slice = []
      size = shared_size
      @tokens.each do |token|
        row = row_size(token, accepted + slice.size)
        if slice.size == max || (size + row > BODY_MAX && !slice.empty?)
          pass_on(slice, &block)
          slice = []
          size = shared_size
        end
        slice << token
        size += row
      end
      pass_on(slice, &block) unless slice.empty?
    end

    # An error of the block tells of this call.
    def of_call
      yield
    rescue Error => e
      raise e.of_call(request_id:, accepted:)
    end

    private

    def pass_on(slice)
      options = @options.transform_values { |value| rows(value, slice.size) }
      options[:request_id] = @calls.zero? ? request_id : "#{request_id}-#{@calls}"
      yield slice, rows(@notifications, slice.size), options
      @calls += 1
      @accepted += slice.size
    end

    def json(notifications)
      return Notification.json(notifications) unless notifications.is_a?(Array)

      notifications.map.with_index { |each, index| Notification.json(each, "notifications[#{index}]") }
    end

    # What belongs to the next tokens: their part of an array, or what is for all.
    def rows(value, size)
      value.is_a?(Array) ? value[accepted, size] : value
    end

    # Bytes of XML for what is for all tokens.
    def shared_size
      @shared_size ||= [@notifications, *@options.values].grep_v(Array).sum { |value| size(value) }
    end

    # The same for a token and what belongs to it.
    def row_size(token, index)
      size(token) + [@notifications, *@options.values].grep(Array).sum { |values| size(values[index]) }
    end

    def size(value)
      return VALUE_SIZE unless value.is_a?(String)

      VALUE_SIZE + value.bytesize + (3 * value.b.count("<>")) + (4 * value.b.count("&"))
    end

    # Whatever is given for each token must be as many as the tokens, which is known before the first call is made.
    def check
      unless @tokens.respond_to?(:each)
        refuse("tokens: a String or an Enumerable of them is needed, not #{@tokens.class}")
      end

      { notifications: @notifications, **@options }.each do |name, value|
        next unless value.is_a?(Array)

        @tokens = @tokens.to_enum(:each).first(value.size + 1) unless @tokens.is_a?(Array)
        next if @tokens.size == value.size

        refuse("#{name}: an array of #{value.size}, but not as many tokens; give one for each, or one for all")
      end
    end

    def refuse(problem)
      of_call { raise InvalidArguments, problem }
    end
  end
end
